# Training: good paths, and everything that can go wrong while it runs.

case every kind of model
do for m in bayes linear bag attention transformer; do fovea train "$FIX/train.txt" --model $m --d-model 16 --epochs 1 -o $m -q --results tsv 2>/dev/null || fovea train "$FIX/train.txt" --model $m -o $m -q --results tsv; done | grep -c valid
out 5

case attention whose decays and write strengths are made of the text
do for a in gla deltanet retention; do fovea train "$FIX/train.txt" --attention $a --d-model 16 --heads 2 --layers 1 --epochs 1 -o $a -q > /dev/null; fovea eval $a "$FIX/train.txt" | grep -c accuracy; done
out 1
out 1
out 1

case a run folder is complete
do fovea train "$FIX/train.txt" -o news --d-model 16 --heads 2 --layers 1 --epochs 1 -q
out~ valid
file news/config.yaml
file news/command.txt
file news/config.json
file news/model.safetensors
file news/tokenizer.json
file news/metrics.jsonl
file news/train.log
file news/eval.json
file news/last

case the command is kept
do fovea train "$FIX/train.txt" -o 'my run' --model bayes -q > /dev/null; tail -c 35 'my run/command.txt'
out~ -o 'my run' --model bayes -q

case a name is made of the input, and never overwritten
do cp "$FIX/train.txt" reviews.txt
do fovea train reviews.txt --model bayes > /dev/null; fovea train reviews.txt --model bayes > /dev/null
file runs/reviews/model.safetensors
file runs/reviews-2/model.safetensors
err runs/reviews is in use, this run is runs/reviews-2

case train.tsv is known by its folder
do mkdir news; cp "$FIX/train.txt" news/train.txt; fovea train news/train.txt --model bayes -q > /dev/null
file runs/news/model.safetensors

case overwrite
do fovea train "$FIX/train.txt" --model bayes -o a -q >/dev/null; fovea train "$FIX/train.txt" --model linear -o a --overwrite -q --results tsv | cut -f 1
out linear
nofile a-2

case columns of a table, and predict inherits them
do printf 'topic,body\nsport,goal team\npolitics,vote law\nsport,striker goal\npolitics,senate tax\nsport,team win\npolitics,law reform\n' > t.csv
do fovea train t.csv --label-col topic --text-col body --model bayes -o m -q --valid-share 0 --test-share 0 --split-seed 1
do fovea predict m t.csv | head -n 2; fovea eval m t.csv | head -n 1
out sport
out politics
out texts     6

case progress in JSON
do fovea train "$FIX/train.txt" -o a --d-model 16 --heads 2 --layers 1 --epochs 1 --progress json 2>&1 >/dev/null | grep '"event": "train"' | head -n 1 | cut -c 1-29
out {"event": "train", "step": 1,

case plain progress has no carriage returns
do fovea train "$FIX/train.txt" -o a --d-model 16 --heads 2 --layers 1 --epochs 1 2>&1 >/dev/null | tr '\r' '@' | grep -c '@'
exit 1
out 0

case the line of progress
do fovea train "$FIX/train.txt" -o a --d-model 16 --heads 2 --layers 1 --epochs 1 2>&1 >/dev/null | grep -cE '^train  step [0-9]+/[0-9]+  [0-9]+%  loss [0-9.]+  lr [0-9.e-]+  gnorm [0-9.]+  [0-9.kM]+ tok/s  eta [0-9:]+$'
out 6

case quiet says nothing
do fovea train "$FIX/train.txt" -o a --model linear -q 2>&1 >/dev/null | wc -c | tr -d ' '
out 0

case word vectors
do fovea train --task vectors "$FIX/train.txt" -o v.safetensors --vector-min-count 1 --vector-dim 8 --vector-rank 8 -q
out v.safetensors
file v.safetensors

case word vectors are not overwritten
do : > v.safetensors; fovea train --task vectors "$FIX/train.txt" -o v.safetensors
exit 2
err fovea: error: v.safetensors exists
err   try:     --overwrite or another --output

case vectors from unlabelled text on the way
do cut -d ' ' -f 2- "$FIX/train.txt" > u.txt
do fovea train "$FIX/train.txt" --unlabelled u.txt -o a --d-model 16 --vector-dim 16 --vector-rank 16 --vector-min-count 1 --heads 2 --layers 1 --epochs 1 -q >/dev/null
do grep -x 'vectors: a/vectors.safetensors' a/config.yaml
out vectors: a/vectors.safetensors
file a/vectors.safetensors

case bayes has no word vectors
do fovea train "$FIX/train.txt" --model bayes --unlabelled "$FIX/train.txt"
exit 2
err fovea: error: --unlabelled: --model bayes has no word vectors
nofile runs/fix

case nothing to train on
do fovea train
exit 2
err fovea: error: --input is missing: a file of labelled texts

case missing file of vectors
do fovea train "$FIX/train.txt" --vectors nofile.vec -q
exit 3
err fovea: error: nofile.vec: cannot open: No such file or directory
nofile runs/fix

case unknown mechanism
do fovea train "$FIX/train.txt" --attention softmx -q
exit 2
err fovea: error: unknown attention mechanism
err   found:   "softmx"
nofile runs/fix

case not a duration
do fovea train "$FIX/train.txt" --until abc -q
exit 2
err fovea: error: until: not a duration
err   found:   "abc"
nofile runs/fix

case resume what is no run
do fovea train --resume nix
exit 2
err fovea: error: nix is not a run folder: it has no config.yaml

case resume last without runs
do fovea train --resume last
exit 2
err fovea: error: --resume last
err   try:     fovea train FILE

case a saved key this version does not know only warns
do cp -r "$FIX/bayes" a; echo 'brand-new-key: 3' >> a/config.yaml; fovea train --resume a -q >/dev/null
err~ unknown key brand-new-key is left out

case a learning rate that diverges
do fovea train "$FIX/train.txt" -o a --learning-rate 1e6 --max-grad-norm 0 --d-model 16 --heads 2 --epochs 9 -q
exit 6
err~ became NaN or infinite at update
err~ last good state: 
err~   try:     --learning-rate 

case a second trainer in one folder
do fovea train "$FIX/train.txt" -o a --d-model 16 --heads 2 --layers 1 --epochs 3000 --save-every 10e -q > /dev/null 2>&1 &
do first=$!
do for i in 1 2 3 4 5 6 7 8 9 10; do [ -e a/last/a.safetensors ] && break; sleep 0.5; done
do fovea train "$FIX/train.txt" -o a --overwrite -q; code=$?
do fovea train --resume a -q && echo 'two at once'
do kill -9 $first; wait $first; exit $code
exit 2
err fovea: error: a: another process trains there
err~ is locked by process

case interrupted: saved, 130, and it goes on
do fovea train "$FIX/train.txt" -o a --d-model 16 --heads 2 --layers 1 --epochs 3000 --save-every 500e -q > /dev/null &
do job=$!
do for i in 1 2 3 4 5 6 7 8 9 10; do [ -e a/config.yaml ] && break; sleep 0.5; done
do sleep 0.5; kill -INT $job; wait $job; code=$?
do fovea train --resume a --epochs 1 -q > /dev/null && exit $code
exit 130
err~ fovea: interrupted: 
file a/model.safetensors

case terminated: saved, 143
do fovea train "$FIX/train.txt" -o a --d-model 16 --heads 2 --layers 1 --epochs 3000 --save-every 500e -q > /dev/null &
do job=$!
do for i in 1 2 3 4 5 6 7 8 9 10; do [ -e a/config.yaml ] && break; sleep 0.5; done
do sleep 0.5; kill -TERM $job; wait $job
exit 143
err~ fovea: interrupted: 

case disk full while saving: the previous state stays good
root
do mkdir small; mount -t tmpfs -o size=300k tmpfs small
do fovea train "$FIX/train.txt" -o small/a --d-model 16 --heads 2 --layers 1 --epochs 3000 -q; code=$?
do fovea predict small/a "$FIX/train.txt" -q > p || echo 'the model is not good'
do rm small/a/metrics.jsonl small/a/train.log; fovea train --resume small/a --epochs 1 -q > /dev/null || echo 'the state is not good'
do exit $code
exit 5
err~ No space left on device
not is not good

case disk full before the first byte
root
do mkdir small; mount -t tmpfs -o size=1m,nr_inodes=4 tmpfs small
do head -c 2000000 /dev/zero > small/ballast 2>/dev/null; fovea train "$FIX/train.txt" -o small/a --model bayes -q
exit 5
err~ No space left on device

case the folder cannot be made
do : > runs; fovea train "$FIX/train.txt" -q
exit 1
err~ fovea: error: cannot make the folder runs

case word vectors take the width of the model
do tr ' ' '\n' < "$FIX/train.txt" | grep -v __label__ | paste -sd ' \n' - > u.txt
do fovea train "$FIX/train.txt" --unlabelled u.txt -o a --d-model 8 --vector-min-count 1 --heads 2 --layers 1 --epochs 1 -q >/dev/null; grep vector-dim a/config.yaml
out vector-dim: 8

case word vectors of another width, refused before they are learnt
do fovea train "$FIX/train.txt" --unlabelled nofile.txt --d-model 16 --vector-dim 32 --heads 2 -o a
exit 2
err fovea: error: --vector-dim and --d-model differ
err   found:   32 and 16
nofile a

case overwriting costs nothing when the new run turns out to be impossible
do cp -r "$FIX/transformer" a; echo mine > a/notes.txt; echo mine > a/last/notes.txt; cp -r a b
do fovea train "$FIX/train.txt" -o a --overwrite --vectors nofile.vec -q; code=$?
do fovea train "$FIX/train.txt" -o a --overwrite --unlabelled nofile.txt -q && echo 'possible'
do printf '__label__x a b\n__label__x c d\n' > one.txt; fovea train one.txt -o a --overwrite -q && echo 'possible'
do rm -f a/lock b/lock; diff -r a b && exit $code
exit 3

case overwriting removes the files of the run and no others
do cp -r "$FIX/transformer" a; echo mine > a/notes.txt; echo mine > a/last/notes.txt; echo old > a/eval.json
do fovea train "$FIX/train.txt" --model bayes -o a --overwrite -q >/dev/null; cat a/notes.txt a/last/notes.txt | grep -c mine; fovea predict a "$FIX/train.txt" -q | grep -c .
out 2
out 200
not old
nofile a/last/a.safetensors

case a wrong flag does not cost the run that --overwrite names
do fovea train "$FIX/train.txt" --model bag --d-model 8 --epochs 1 -o a -q >/dev/null; fovea train "$FIX/train.txt" --model bag --d-model 8 -o a --overwrite --until abc
exit 2
err fovea: error: until: not a duration
file a/model.safetensors

case a duration beyond all numbers
do fovea train "$FIX/train.txt" --until 1e300u -o a
exit 2
err fovea: error: until: not a duration
err   found:   "1e300u"

case an unknown mechanism is refused before any file is read
do fovea train nofile.txt --attention nosuch
exit 2
err fovea: error: unknown attention mechanism
err   found:   "nosuch"

case n-grams from longest to shortest, with every model that has them
do fovea train "$FIX/train.txt" --model bag --ngram-min 7 -o a
exit 2
err fovea: error: ngram-min is larger than ngram-max
err   found:   7 and 5
nofile a

case a class token that leaves no room for the text
do fovea train "$FIX/train.txt" --pooling cls --max-length 1 -o a
exit 2
err fovea: error: pooling cls reads a [CLS] token in front of each text
nofile a

case the terminal is closed: saved, 129
do fovea train "$FIX/train.txt" -o a --d-model 16 --heads 2 --layers 1 --epochs 3000 --save-every 500e -q > /dev/null &
do job=$!
do for i in 1 2 3 4 5 6 7 8 9 10; do [ -e a/config.yaml ] && break; sleep 0.5; done
do sleep 0.5; kill -HUP $job; wait $job
exit 129
err~ fovea: interrupted: 

case a byte-pair vocabulary without pairs is a model like any other
do fovea train "$FIX/train.txt" --tokenizer bpe --vocab-size 1 --d-model 8 --heads 1 --layers 1 --epochs 1 -o a -q >/dev/null; fovea predict a "$FIX/train.txt" -q | grep -c .
out 200

case resumed with a tokenizer from elsewhere that has no unknown token
do fovea train "$FIX/train.txt" --tokenizer bpe --vocab-size 300 --d-model 8 --heads 1 --layers 1 --epochs 1 -o a -q >/dev/null
do sed -i 's/"unk_token": *"[^"]*"/"unk_token": null/' a/tokenizer.json; fovea train --resume a --epochs 2 -q | grep -c valid
out 1

case another optimizer, and what a resume with one says
do fovea train "$FIX/train.txt" -o a --model bag --epochs 1 --optimizer sgd --momentum 0.9 --nesterov -q >/dev/null && fovea train --resume a --epochs 2 -q >/dev/null && fovea train --resume a --optimizer adamw -q
exit 4
err~ the state of another optimizer

case a number for a text: train, predict, eval, explain
do awk 'BEGIN { print "stars\ttext"; for (i = 0; i < 120; i++) print i % 5 "\tfilm " (i % 5 > 2 ? "good good" : i % 5 > 0 ? "good" : "bad") " word" i % 7 }' > stars.tsv
do fovea train stars.tsv --task regress --target-col stars --model linear -o m -q --results tsv | cut -f 2,4-7 | head -n 1; echo 'film good good' | fovea predict m | grep -c '^[23]\.[0-9]*$'; fovea eval m stars.tsv --format tsv | cut -f 1,2; fovea eval m stars.tsv | cut -c 1-9
out part	r2	rmse	mae	spearman
out 1
out texts	r2
out~ 120	0.9
out~ texts
out~ spearman
do echo 'film good' | fovea predict m --format jsonl | cut -c 1-10; grep -c '"spearman"' m/eval.json; grep -c '"valid_rmse"' m/metrics.jsonl; fovea info m | grep -c regress; fovea explain m 'film good' --format tsv | head -n 1
out {"number":
out token	contribution

case a number that is none
do printf 'label\ttext\n3\tgood\nfour\tbad\n' > s.tsv; fovea train s.tsv --task regress
exit 3
err fovea: error: s.tsv:3: not a number
err   expected a finite number such as 3.5 in column "label"
err   found:   "four"

case flags of another task
do fovea train "$FIX/train.txt" --task regress --label-smoothing 0.1
exit 2
err fovea: error: --label-smoothing does not apply to --task regress
err   it belongs to: classify

case a score of another task
do fovea train "$FIX/train.txt" --task classify --metric rmse
exit 2
err fovea: error: unknown metric
err   expected accuracy|macro-f1|loss
err   found:   rmse

case a network that the task cannot train
do fovea train "$FIX/train.txt" --task regress --model bayes
exit 2
err fovea: error: task regress cannot train this model
err   expected one of: linear, bag, attention, transformer

case an unknown task
do fovea train "$FIX/train.txt" --task regres
exit 2
err fovea: error: --task: wrong value
err   try:     regress

case a regression can be resumed
do awk 'BEGIN { print "label\ttext"; for (i = 0; i < 60; i++) print i % 3 "\tw" i % 3 " x" i }' > n.tsv
do fovea train n.tsv --task regress --model bag --d-model 8 --min-count 1 --until 10u -o r -q --valid-share 0.3 > /dev/null; fovea train --resume r --until 20u -q --results tsv | cut -f 1,2
out bag	valid
file r/eval.json

case a model of before tasks had names
do model linear; sed -i '/"task"/d' m/config.json; echo 'goal team' | fovea predict m
out sport

case nothing was set aside: the training texts are the table
do fovea train "$FIX/train.txt" --model bayes -o a --valid-share 0 -q --results tsv | cut -f 1,2
out bayes	train

case the first example leaves attention worth looking at
do line=$(grep '^fovea train -i examples/toy.tsv --model attention' "$README"); cd "$(dirname "$README")"; eval "$(echo "$line" | sed "s,runs/toy,$OLDPWD/toy,") -q"
do fovea explain -m "$OLDPWD/toy" 'a mail reader for the terminal' | awk '/^layer 0/ { for (i = 3; i <= NF; i++) sum += $i; exit !(sum / (NF - 2) > 0.25) }' && echo focused
out focused

case a run is resumed by its name
do cp "$FIX/train.txt" news.txt; fovea train news.txt --model bag --epochs 1 -q > /dev/null; fovea train --resume news --epochs 2 -q --format tsv | cut -f 2
out valid

case the same command again, after a run that was killed before its first checkpoint
do cp "$FIX/train.txt" news.txt; mkdir -p runs/news/last; printf 'model: bag\n' > runs/news/config.yaml; touch runs/news/lock runs/news/metrics.jsonl; fovea train news.txt --model bag --epochs 1 -q > /dev/null
file runs/news/model.safetensors
nofile runs/news-2

case a folder with files of others is no run that never began
do cp "$FIX/train.txt" news.txt; mkdir -p runs/news; printf 'model: bag\n' > runs/news/config.yaml; touch runs/news/notes.txt; fovea train news.txt --model bag --epochs 1 -q > /dev/null
file runs/news-2/model.safetensors

case auto is the default for classes: members, their weights, one folder
do fovea train "$FIX/train.txt" -o a --budget 1s -q --format tsv > t.tsv; cut -f 1,2 t.tsv; head -n 1 t.tsv | tr '\t' '\n' | grep -x weight
do echo 'goal team' | fovea predict a; fovea check a | cut -c 1-12; fovea eval a "$FIX/train.txt" | head -n 1; fovea info a | grep -c '^member '
out auto	valid
out auto/bayes	valid
out auto/linear	valid
out weight
out~ sport
out a: ok, auto:
file a/config.json
file a/eval.json
file a/members

case auto explains with every member
do fovea train "$FIX/train.txt" -o a --budget 1s -q > /dev/null; fovea explain a 'goal team vote' --format tsv | head -n 1
do fovea explain a 'goal team vote' -o a.html -o a.png && grep -c 'Contribution of' a.html
out~ contribution
out 1
file a.png

case auto says what decides
do fovea train "$FIX/train.txt" -o a --budget 1s 2>&1 >/dev/null | grep -E '^try ' | cut -c 1-12
out try    bayes
out try    linea

case auto is not resumed
do fovea train "$FIX/train.txt" -o a --budget 1s -q > /dev/null; fovea train --resume a
exit 2
err fovea: error: a: a search is not resumed, it takes the time of its budget
err~ try:     the same command with --overwrite

case auto makes its own choices
do fovea train "$FIX/train.txt" --model auto --epochs 3
exit 2
err fovea: error: --epochs does not apply to --model auto
err   it belongs to: bag, attention, transformer

case a budget is a time
do fovea train "$FIX/train.txt" --budget 5e
exit 2
err fovea: error: budget: not a time
err   expected a number above zero and a unit: 90s, 5m, 1h

case who says something about a network gets one
do fovea train "$FIX/train.txt" --epochs 3 --dump-config | grep model:; FOVEA_LAYERS=1 fovea train "$FIX/train.txt" --dump-config | grep model:
do fovea train "$FIX/train.txt" --dump-config | grep -E '^(model|budget|epochs|d-model|valid-share|seed):'
out model: transformer
out model: auto
out budget: 60s
out seed: 1
not valid-share:

case a saved configuration of auto trains the same
do fovea train "$FIX/train.txt" -o a --budget 1s -q > /dev/null; fovea train -c a/config.yaml -o b -q > /dev/null; cmp a/config.json b/config.json && echo same
out same

case auto and a given part to choose by
do fovea train "$FIX/train.txt" --valid "$FIX/train.txt" -o a --budget 1s 2>&1 >/dev/null | grep -c 'members are chosen by the [0-9]* validation texts'
out 1

case numbers are learnt by a network
do printf 'label\ttext\n1\ta b\n2\tb c\n3\tc d\n4\td e\n' > n.tsv; fovea train n.tsv --task regress --dump-config | grep model:
out model: transformer
