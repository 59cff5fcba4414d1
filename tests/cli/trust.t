# What deceives: escape sequences in data, names that lead out of a run folder, files that never end.

case escape sequences of labels are shown, not sent, in every format but JSON, which has its own
do printf 'label,text\n"\033[31mred\033]0;owned\007",x\n"\302\233b|",y\n' > e.csv; fovea check e.csv 2> /dev/null > text; for f in tsv csv md json; do fovea info e.csv --format $f > $f 2> /dev/null; done; ! grep -l "$(printf '\033')" text tsv csv md json; ! grep -l "$(printf '\302\233')" text tsv csv md json; ! grep -l "$(printf '\007')" text tsv csv md json; grep -hoF '\x1b[31mred\x1b]0;owned\x07' text tsv csv md | wc -l; grep -oF '\x9bb' text; cat json
out 4
out \x9bb
out~ "\u001b[31mred\u001b]0;owned\u0007"
out~ "\u009bb|"

case escape sequences of a model's classes and of metadata
do printf '__label__\033[31mred goal\n__label__blue law\n__label__\033[31mred goal goal\n__label__blue law law\n' > l.txt; fovea train l.txt --model bayes --min-texts 1 -o m -q > /dev/null 2> log; for f in text tsv csv json; do fovea predict m l.txt --format $f; fovea eval m l.txt --format $f; fovea info m --format $f; done > all 2>> log; st m.safetensors '{"__metadata__":{"k":"\u001b[2J"},"\u001b[1m":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' 4; fovea info m.safetensors >> all; fovea info m.safetensors --metadata k >> all; ! grep -l "$(printf '\033')" all log; grep -cF '\x1b[31mred' all; tail -n 1 all; fovea predict m l.txt | head -n 1
out \x1b[2J
out \x1b[31mred

case a run folder whose names lead elsewhere is not written to
do cp -r "$FIX/transformer" r; echo precious > victim; for n in lock metrics.jsonl train.log eval.json config.json tokenizer.json model.safetensors last/a.safetensors; do cp -r r q; rm -f q/$n; ln -s "$PWD/victim" q/$n; timeout 20 fovea train --resume q --epochs 5 -q 2> err && echo "went on: $n"; grep -qE "found:   (a link|a link, a pipe or a device)" err || cat err; rm -rf q; done; mkdir other; cp -r r q; rm -rf q/last; ln -s "$PWD/other" q/last; fovea train --resume q --epochs 5 -q 2> err && echo "went on: last"; ls other; cp -r r h; rm h/metrics.jsonl; ln victim h/metrics.jsonl; fovea train --resume h --epochs 5 -q 2> err && echo "went on: hard link"; cat victim
out precious
not went on

case pipes in a run folder are refused at once
do cp -r "$FIX/transformer" r; for n in config.yaml config.json tokenizer.json model.safetensors metrics.jsonl last/a.safetensors .config.json.tmp; do cp -r r q; rm -f q/$n; mkfifo q/$n; timeout 20 fovea train --resume q --epochs 6 -q 2> err; [ $? -ne 124 ] || echo "waited: $n"; timeout 20 fovea predict q "$FIX/train.txt" > /dev/null 2> err; [ $? -ne 124 ] || echo "waited: $n"; rm -rf q; done; echo done
out done
not waited

case a removed lock lets no second trainer in
do fovea train "$FIX/train.txt" --model transformer --d-model 16 --heads 2 --layers 1 --epochs 400 -o r -q > /dev/null 2>&1 & first=$!; while [ ! -s r/config.yaml ]; do sleep .05; done; rm r/lock; fovea train --resume r 2> err; code=$?; kill -9 $first; cat err >&2; exit $code
exit 1
err~ is locked by another process

case a second document in a configuration file
do printf 'model: bayes\n---\nmodel: linear\n' > c.yaml; fovea train "$FIX/train.txt" --config c.yaml
exit 2
err fovea: error: c.yaml:2: a second document

case too many keys, and too large a file
do for i in $(seq 1001); do echo "k$i: 1"; done > c.yaml; sed -i 's/^k/vector-k/' c.yaml; head -c 2000000 /dev/zero | tr '\0' '#' > big.yaml; fovea train "$FIX/train.txt" --config big.yaml; fovea train "$FIX/train.txt" --config c.yaml
exit 2
err fovea: error: big.yaml: cannot be read
err   found:   more than 1 MiB

case a pipe as configuration, as shells make them
do echo 'model: bayes' | fovea train "$FIX/train.txt" --config /dev/stdin -o p -q > /dev/null && mkfifo f; timeout 10 fovea train "$FIX/train.txt" --config f
exit 2
err fovea: error: f: cannot be read
err   found:   a pipe or a device

case a run whose path is no UTF-8 is resumed by its own configuration
do d=$(printf 'caf\351'); mkdir "$d"; cp "$FIX/train.txt" "$d/x.txt"; fovea train "$d/x.txt" --model transformer --d-model 16 --heads 2 --layers 1 --epochs 1 -o "$d/r" -q > /dev/null && grep -q '!!binary' "$d/r/config.yaml" && fovea train --resume "$d/r" --epochs 2 -q > /dev/null && fovea predict "$d/r" "$d/x.txt" | wc -l
out 200

case very many classes cost what they are
do awk 'BEGIN { for (i = 0; i < 60000; i++) print "__label__c" i " goal" }' > many.txt; head -n 100 many.txt > few.txt; timeout 60 fovea train many.txt --valid few.txt --model bayes --min-texts 1 -o m -q > /dev/null; (address_space 4000000; timeout 20 fovea info m | grep -c c59999; timeout 40 fovea eval m few.txt --format tsv | wc -l)
out 1
out 60001

case linear refuses more classes than it can fit
do awk 'BEGIN { for (i = 0; i < 20000; i++) print "__label__c" i " word" i % 50 }' > many.txt; timeout 30 fovea train many.txt --model linear --min-texts 1 -o m -q
exit 5
err fovea: error: model linear: too many classes to fit
err~ try:     --model bayes

case little memory is a message, never a signal
do model transformer; for room in 60000 70000 75000 80000 90000 100000 120000 140000; do (address_space $room; echo goal | fovea predict m > /dev/null 2>> log); code=$?; [ $code -eq 0 ] || [ $code -eq 5 ] || [ $code -eq 127 ] || echo "$room: $code"; done; echo done
out done
