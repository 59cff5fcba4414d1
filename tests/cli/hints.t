# What a message advises is done, and leads on: the hint is read from the message and becomes the next command.

case an unknown option, nothing near
do fovea version --zzz
exit 2
hint run

case an unknown option, nearly right
do fovea predict "$FIX/bayes" "$FIX/train.txt" --tpo-k 1
exit 2
hint replace --tpo-k

case an unknown command
do fovea paint
exit 2
hint run

case a command, nearly right
do fovea predct "$FIX/bayes" "$FIX/train.txt"
exit 2
hint replace predct

case help about nothing
do fovea help nothing
exit 2
hint run

case a wrong choice
do fovea mechanisms --format jsno
exit 2
hint replace jsno

case a form of data where one of results is asked for
do fovea check "$FIX/train.txt" --format fasttext
exit 2
err   try:     --input-format fasttext, which is that of the data
hint replace --format fasttext

case a form of data given to train
do fovea train "$FIX/train.txt" --model bayes -o m -q --format fasttext
exit 2
hint replace --format fasttext

case an unknown model
do fovea train "$FIX/train.txt" --model linaer -o m -q
exit 2
hint replace linaer

case an unknown preset
do fovea train "$FIX/train.txt" --preset scrach --dump-config
exit 2
hint replace scrach

case an unknown mechanism of the command
do fovea mechanisms sofmax
exit 2
hint replace sofmax

case a mechanism that nobody knows
do fovea mechanisms zzzzzzz
exit 2
hint run

case a tensor that is needed
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy
exit 2
hint run

case a tensor that is not taken
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --log-decay q.npy
exit 2
hint run

case rows without weights
do npy q.npy '<f4' '(1, 1, 2, 4)' 32
do fovea attend q.npy q.npy q.npy --rows 1
exit 2
hint append

case an offset with the diagonal at the end
do npy q.npy '<f4' '(1, 1, 2, 4)' 32
do fovea attend q.npy q.npy q.npy --causal lower-right --q-offset 1
exit 2
hint append

case one tensor given as a file of several
do npy q.npy '<f4' '(1, 1, 2, 4)' 32
do fovea attend --in q.npy --k q.npy --v q.npy
exit 2
hint replace --in q.npy

case a cache of doubles
do fovea bench decode --shape 1,2,64,16 -r 1 --dtype f64
exit 2
hint append

case two labels on a line
do printf '__label__a __label__b x\n__label__b y\n__label__a z\n__label__b w\n' > two.txt
do fovea train two.txt --model bayes -o m -q --valid-share 0
exit 3
hint append

case columns in a file of lines
do printf 'a\tgood words\nb\tbad words\na\tgood\nb\tbad\n' > n.txt
do fovea train n.txt --model bayes -o m -q --valid-share 0
exit 3
hint append

case a file that is not UTF-8
do printf '__label__a caf\351\n' > latin.txt
do fovea train latin.txt --model bayes -o m -q
exit 3
hint run

case a compressed file
do printf '__label__a x\n__label__b y\n' | gzip > c.txt.gz
do fovea check c.txt.gz
exit 3
hint run
fill FILE=c.txt.gz

case word vectors of another width
do printf '2 4\ngoal 1 0 0 0\nteam 0 1 0 0\n' > v.vec
do fovea train "$FIX/train.txt" --model bag --d-model 8 --epochs 1 --vectors v.vec -o m -q
exit 2
hint append

case word vectors for a model without
do fovea train "$FIX/train.txt" --model bayes --unlabelled "$FIX/train.txt" -o m -q --vector-min-count 1 --d-model 16 --epochs 1
exit 2

case a folder that is in use
do fovea train "$FIX/train.txt" --model bayes -o m -q > /dev/null
do fovea train "$FIX/train.txt" --model bayes -o m -q
exit 2
err fovea: error: --output m: in use
hint append

case nothing to resume
do fovea train --resume last
exit 2
hint run
fill FILE="$FIX/train.txt" --model bayes -q

case a folder that is no run
do fovea train --resume nix
exit 2
hint run
fill FILE="$FIX/train.txt" --model bayes -q

case a run that was stopped before its first checkpoint
do mkdir m; printf 'model: bag\n' > m/config.yaml; printf 'fovea train "$FIX/train.txt" --model bag --epochs 1 -o m -q\n' > m/command.txt; touch m/lock m/metrics.jsonl; mkdir m/last
do fovea train --resume m
exit 2
err fovea: error: m: nothing to resume
hint run

case a run that was interrupted
do fovea train "$FIX/train.txt" --model bag --until 60s -o m -q > /dev/null 2> err & sleep 3; kill -INT $!; wait $!; cat err >&2
do exit 130
exit 130
err~ try:     --resume m
hint train
fill m$=m --until 1u -q

case two runs to compare
do fovea config diff a
exit 2
hint run
fill runs/a="$FIX/bayes/config.yaml"
fill runs/b="$FIX/linear/config.yaml"

case a word too many
do fovea version now
exit 2
hint run

case nothing to explain
do fovea explain "$FIX/bayes" < /dev/null
exit 3
hint run
