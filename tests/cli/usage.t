# Commands, flags, configuration files: what people type wrong, and every spelling that is right.

case no command
do fovea
exit 2
err fovea: train, run and look at attention models
err usage: fovea COMMAND [OPTIONS] [FILES]

case help
do fovea --help
out usage: fovea COMMAND [OPTIONS] [FILES]
out~ train       train a text classifier, a regression or word vectors from files

case help all lists every command
do fovea help all | grep -cE '^  (train|predict|eval|explain|show|attend|mechanisms|check|info|verify|bench|data|config|completion|help|version) '
out 16

case help of a command, narrow terminal
do COLUMNS=40 fovea predict --help | awk '/^          / && length > 40 { bad = 1 } END { exit bad }'
exit 0

case help of every command, narrow terminal: only commands to be copied are longer
do for c in train predict eval explain show attend mechanisms check info verify bench data config completion help version; do COLUMNS=40 fovea $c --help | awk -v c=$c 'length > 40 && !/^(usage:|      ) fovea |^  fovea / { print c ": " $0 }'; done; COLUMNS=40 fovea help | awk 'length > 40 && !/^  fovea /'

case a table on a narrow terminal
do command -v script > /dev/null && script -qec 'stty cols 40; COLUMNS= fovea mechanisms' /dev/null | tr -d '\r' | awk 'length > 48 { bad++ } END { print bad + 0 }'
out 0

case help of every command
do for c in train predict eval explain show attend mechanisms check info verify bench data config completion help version; do fovea $c --help | grep -q "^usage: fovea $c" || echo "$c"; done; echo done
out done

case version
do fovea --version
out fovea 0.1.0

case unknown command
do fovea trian
exit 2
err fovea: error: unknown command trian      did you mean train?

case unknown command, nothing near
do fovea paint
exit 2
err fovea: error: unknown command paint
err   try:     fovea help

case unknown option
do fovea train --learning-rte 3
exit 2
err fovea: error: unknown option --learning-rte (train)      did you mean --learning-rate?

case unknown option, as key=value
do fovea train learning_rte=3
exit 2
err fovea: error: unknown option learning_rte (train)      did you mean learning-rate?

case unknown option that belongs elsewhere
do fovea predict --epochs 3
exit 2
err fovea: error: unknown option --epochs (predict)
err   it belongs to: fovea train

case unknown option, nothing near
do fovea version --zzz
exit 2
err fovea: error: unknown option --zzz (version)
err   try:     fovea version --help

case -c with a number
do fovea train -c 4096 x.txt
exit 2
err fovea: error: -c 4096: no such file      did you mean --ctx-size 4096? -c is --config here

case option without its value
do fovea predict "$FIX/bayes" --top-k --quiet
exit 2
err fovea: error: option --top-k needs a value: N

case option at the end without its value
do fovea predict -m
exit 2
err fovea: error: option -m needs a value: FOLDER

case not a number
do fovea train --batch-size many x.txt
exit 2
err fovea: error: --batch-size: wrong value
err   expected a whole number from 1 to 1048576
err   found:   "many"

case out of range
do fovea train --dropout 2 x.txt
exit 2
err fovea: error: --dropout: wrong value
err   found:   "2"

case a number that overflows
do fovea train --batch-size 99999999999999999999 x.txt
exit 2
err fovea: error: --batch-size: wrong value

case not a number at all
do fovea train --learning-rate nan x.txt
exit 2
err fovea: error: --learning-rate: wrong value
err   found:   "nan"

case wrong choice
do fovea train --schedule cosin x.txt
exit 2
err fovea: error: --schedule: wrong value
err   expected constant, linear, cosine, inverse-sqrt
err   try:     cosine

case wrong optimizer
do fovea train --optimizer adm x.txt
exit 2
err fovea: error: --optimizer: wrong value
err   expected adamw, sgd

case too many words
do fovea predict "$FIX/bayes" "$FIX/train.txt" 1 2
exit 2
err fovea: error: too many arguments
err   found:   "2" more

case positional value out of range
do fovea predict "$FIX/bayes" "$FIX/train.txt" 0
exit 2
err fovea: error: top-k: wrong value
err   expected a whole number from 1 to 1000000

case all spellings of one option are equal
do for s in '--batch-size 48' '--batch-size=48' '--batch_size 48' '-batch-size 48' 'batch-size=48' 'batch_size=48' '-b 48' '--batchSize 48' 'batch=48'; do fovea train x.txt $s --dump-config | grep -x 'batch-size: 48' || echo "$s"; done | sort | uniq -c | sed 's/^ *//'
out 9 batch-size: 48

case fastText's habits
do fovea supervised -input a.txt -output news -epoch 7 -lr 0.5 -dim 64 -thread 2 -minCount 3 -minn 2 -maxn 4 --dump-config
out epochs: 7
out learning-rate: 0.5
out d-model: 64
out min-count: 3
out ngram-min: 2
out output: news

case ultralytics' habits
do fovea train data=reviews.csv model=linear --dump-config
out input: [reviews.csv]
out model: linear

case switches
do fovea train x.txt --lowercase=False --no-freeze-vectors --dump-config
out lowercase: false
out freeze-vectors: false

case priority: file < environment < command line, later file wins
do printf 'epochs: 1\nlearning-rate: 0.1\nbatch-size: 11\n' > a.yaml
do printf 'epochs: 2\n' > b.yaml
do FOVEA_LEARN_RATE=0.2 FOVEA_BATCH_SIZE=12 fovea train x.txt -c a.yaml -c b.yaml --batch-size 13 --dump-config
out epochs: 2
out learning-rate: 0.2
out batch-size: 13

case preset is weaker than everything
do printf 'epochs: 3\n' > a.yaml
do fovea train x.txt --preset word-vectors -c a.yaml --dump-config
out epochs: 3
out layers: 1
out model: transformer

case the printed configuration reproduces itself
do fovea train 'a "b".txt' --heads 4 --attention window:left=8 --dump-config > a.yaml
do fovea train -c a.yaml --dump-config | cmp - a.yaml && echo same
out same

case unknown preset
do fovea train x.txt --preset word-vector
exit 2
err fovea: error: unknown preset
err   found:   "word-vector"

case unknown model
do fovea train x.txt --model tranformer
exit 2
err fovea: error: unknown model
err   found:   "tranformer"

case an option of another model
do fovea train x.txt --model bayes --heads 4
exit 2
err fovea: error: --heads does not apply to --model bayes
err   it belongs to: attention, transformer

case configuration with an unknown key
do printf 'epochs: 1\nlearning-rte: 1\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err fovea: error: c.yaml:2: unknown key learning-rte      did you mean learning-rate?

case configuration with an unknown key, nothing near
do printf 'zzzzz: 1\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err fovea: error: c.yaml:1: unknown key zzzzz
err   try:     fovea train --help

case configuration with a wrong type
do printf 'epochs: many\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err fovea: error: c.yaml:1: epochs: wrong value
err   found:   "many"

case configuration: zero width
do printf 'width: 0\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err fovea: error: c.yaml:1: width: wrong value
err   expected a whole number from 1 to 65536

case configuration: negative width
do printf 'width: -3\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err   found:   "-3"

case configuration: a width that overflows
do printf 'width: 99999999999999999999\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err   found:   "99999999999999999999"

case configuration: heads that do not divide the width
do printf 'width: 100\nheads: 8\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err fovea: error: heads must divide d_model
err   found:   heads 8, d_model 100

case configuration that is not YAML
do printf 'epochs: [1,\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err~ fovea: error: c.yaml:2: not YAML: 

case configuration that is a list
do printf -- '- epochs\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err fovea: error: c.yaml:1: wrong shape
err   expected lines such as "learning-rate: 0.001"
err   found:   a list

case configuration with a nested mapping
do printf 'epochs:\n  x: 1\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err fovea: error: c.yaml:2: wrong shape
err   found:   a nested mapping

case configuration with a key twice
do printf 'epochs: 1\nepoch: 2\n' > c.yaml
do fovea train -c c.yaml x.txt
exit 2
err fovea: error: c.yaml:2: epoch
err   found:   twice

case configuration that is missing
do fovea train -c nofile.yaml x.txt
exit 2
err fovea: error: nofile.yaml: cannot be read
err   found:   No such file or directory
err   expected a YAML file with flags, such as "learning-rate: 0.001"

case configuration that is a folder
do fovea train -c . x.txt
exit 2
err fovea: error: .: cannot be read
err   found:   Is a directory

case wrong value in the environment
do FOVEA_EPOCHS=x fovea train x.txt
exit 2
err fovea: error: FOVEA_EPOCHS: wrong value

case control characters of a message never reach the terminal
do fovea train "$(printf 'a\033[31mb.txt')"
exit 3
err fovea: error: a?[31mb.txt: cannot open: No such file or directory

case config print, check and diff
do fovea config print > a.yaml && fovea config check a.yaml "$FIX/bayes"
do fovea config diff "$FIX/bayes" "$FIX/linear" --format tsv
out a.yaml: ok
out model	bayes	linear

case config check finds the fault
do printf 'width: x\n' > c.yaml
do fovea config check c.yaml
exit 2
err fovea: error: c.yaml:1: width: wrong value

case config diff needs two
do fovea config diff a
exit 2
err fovea: error: config diff compares two files, found 1

case completion is bash
do fovea completion bash > c && bash -n c && grep -c . c > /dev/null && echo good
out good

case man page
do fovea help --man | head -n 1
out .TH FOVEA 1 "" "fovea 0.1.0" "User Commands"

case man page has no errors
do command -v groff >/dev/null || { echo 0; exit; }
do fovea help --man | groff -man -ww -Tutf8 2>&1 >/dev/null | wc -l | tr -d ' '
out 0

case help about nothing
do fovea help nothing
exit 2
err fovea: error: no such help
err   found:   nothing

case colour only when asked
do fovea train --nope --color always 2>&1 | grep -c '\[1;31m'; NO_COLOR=1 fovea trian 2>&1 | grep -c '\[1;31m' ; true
out 0

case standard output that is full
do fovea mechanisms > /dev/full
exit 5
err fovea: error: cannot write to standard output: No space left on device

case a reader that goes away
do fovea help --man | head -n 1 >/dev/null; fovea help --markdown | true; echo quiet
out quiet
not error

case standard streams that are closed never stand for a file
do fovea train "$FIX/train.txt" --model bag --d-model 8 --epochs 1 -o a >&- 2>&- <&-; code=$?
do fovea predict a "$FIX/train.txt" -q | grep -c .; grep -cvx '[0-9]*' a/lock; exit $code
exit 5
out 200
out 0

case names that options had in earlier versions, from all sources
do printf 'clip-norm: 3\npool: max\n' > c.yaml
do FOVEA_TABLE_RATE=0.25 fovea train x.txt --config c.yaml --learn-rate 0.5 --accumulate 2 --average 0.9 --width 64 --ffn 96 --attention window:left=8 --vector-width 64 --unlabelled y.txt --dump-config
out max-grad-norm: 3
out pooling: max
out embedding-lr-multiplier: 0.25
out learning-rate: 0.5
out gradient-accumulation: 2
out ema-decay: 0.9
out d-model: 64
out d-ff: 96
out mechanism: "window:left=8"
out vector-dim: 64

case flags of fastText that mean something else here
do fovea train x.txt -bucket 2000000
exit 2
err fovea: error: option -bucket (train) is one of fastText's
err~ --ngram-bits N here

case flags of fastText that mean the same
do fovea train "$FIX/train.txt" --model bag -lr 0.01 -epoch 1 -dim 8 -minn 3 -maxn 4 -minCount 2 -thread 1 -label __label__ -o m -q > /dev/null && echo fine
out fine

case a loss that cannot be chosen
do fovea train x.txt -loss ova
exit 2
err   classes are learnt by softmax; there is no other loss to choose

case a switch and its value
do for s in '--lowercase false' '--lowercase=false' '--no-lowercase' '--lowercase False'; do fovea train x.txt $s --dump-config | grep -x 'lowercase: false'; done; fovea train x.txt --no-lowercase --lowercase true --dump-config | grep -x 'lowercase: true'
out lowercase: false
out lowercase: true

case a word after a switch is not its value unless it can be
do fovea train --no-lowercase "$FIX/train.txt" --dump-config | grep -c "train.txt"
out 1

case switches are shown with their no
do fovea train --help | grep -c -- '--\[no-\]lowercase'; fovea help --markdown | grep -c -- '`--\[no-\]lowercase`'; fovea help --man | grep -c 'no.-\]lowercase'
out 1
out 1

case training options of a model that does not learn by gradients
do fovea train "$FIX/train.txt" --model linear --epochs 3
exit 2
err fovea: error: --epochs does not apply to --model linear
err   it belongs to: bag, attention, transformer

case training options from a file wait for a model that reads them
do printf 'epochs: 3\n' > c.yaml; fovea train "$FIX/train.txt" --model bayes -c c.yaml --dump-config | grep -c epochs
exit 1
out 0

case options of word vectors without word vectors
do fovea train "$FIX/train.txt" --vector-dim 32
exit 2
err fovea: error: --vector-dim alone changes nothing

case a share of a part that is given
do fovea train "$FIX/train.txt" --valid "$FIX/train.txt" --valid-share 0.2
exit 2
err fovea: error: --valid-share changes nothing here

case options of a model for a task that makes a file
do fovea train --task vectors "$FIX/train.txt" --epochs 3
exit 2
err fovea: error: --epochs does not apply to --task vectors

case one flag for the form of results
do fovea train "$FIX/train.txt" --model bayes -o m -q --format json | grep -c '"part": "valid"'; fovea bench attention --shape 1,2,64,16 -r 1 -q --format json | grep -c '"shape"'; fovea bench attention --shape 1,2,64,16 -r 1 -q --output json | grep -c '"shape"'
out 1

case what a run wrote before data had a flag of its own
do cp -r "$FIX/transformer" m; sed -i 's/^input-format: .*/format: auto/' m/config.yaml; fovea train --resume m --epochs 5 -q --format tsv | grep -c valid
out 1

case completion of bash knows values
do fovea completion bash > c; mkdir -p runs/mine; cat > t <<'END'
do . ./c; try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _fovea; echo "${COMPREPLY[*]}"; }
do try fovea train --model tr; try fovea predict --model mi; try fovea predict mi; try fovea train --preset text; try fovea attend --attention block; try fovea mechanisms retent; try fovea train --no-lowerc; try fovea completion z; try fovea train --schedule cos
do END
do bash t
out transformer
out mine
out textbook
out block-topk
out retention
out --no-lowercase
out zsh
out cosine

case completion of zsh
do command -v zsh > /dev/null || { echo 'parses'; echo 'skipped: no zsh' >&2; exit 0; }; fovea completion zsh > _fovea && zsh -n _fovea && zsh -f -c 'autoload -U compinit; compinit -D; . ./_fovea; echo ${_comps[fovea]}' | grep -q _fovea && echo parses
out parses

case completion of fish
do command -v fish > /dev/null || { echo 'train'; echo 'skipped: no fish' >&2; exit 0; }; fovea completion fish > fovea.fish; fish --no-config -c 'source fovea.fish; complete -C "fovea tra"' | cut -f 1
out train
