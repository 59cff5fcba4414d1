# Model folders that are damaged, and what people do with sound ones.

case no model given
do fovea predict
exit 2
err fovea: error: --model is missing: a model folder, such as runs/news

case no such folder
do fovea predict nomodel
exit 4
err fovea: error: nomodel: not a model folder
err   found:   nothing of this name

case a folder that is no model
do mkdir m; fovea predict m
exit 4
err fovea: error: m/config.json: cannot open: No such file or directory

case missing weights
do model linear; rm m/model.safetensors; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/model.safetensors: cannot open: No such file or directory

case missing tokenizer
do model linear; rm m/tokenizer.json; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/tokenizer.json: cannot open: No such file or directory

case weights cut short
do model linear; head -c -8 "$FIX/linear/model.safetensors" > m/model.safetensors; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/model.safetensors: is cut short

case header cut short
do model linear; head -c 100 "$FIX/linear/model.safetensors" > m/model.safetensors; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/model.safetensors: is cut short

case empty weights
do model linear; : > m/model.safetensors; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/model.safetensors: not a tensor file
err   found:   an empty file

case Git LFS pointer
do model linear; printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n' > m/model.safetensors; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/model.safetensors: not a tensor file
err   found:   a pointer of Git LFS
err   try:     git lfs pull

case a weight that is not a number
do model transformer; patch m/model.safetensors $(($(wc -c < m/model.safetensors) - 4)) '\000\000\300\177'; fovea predict m "$FIX/train.txt"
exit 4
err~ is not a finite number
err~ fovea: error: m/model.safetensors: tensor "

case a tensor of the wrong shape
do model transformer; sed -i 's/"d-model": 16/"d-model": 8/' m/config.json; fovea predict m "$FIX/train.txt"
exit 4
err~ fovea: error: m/model.safetensors: tensor "

case weights too small for the configuration
do model transformer; sed -i 's/"d-model": 16/"d-model": 32/' m/config.json; fovea predict m "$FIX/train.txt"
exit 4
err~ fovea: error: m/model.safetensors: tensor "embed.weight" has the wrong shape

case overlapping tensors
do model bayes; st m/model.safetensors '{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32]},"b":{"dtype":"F32","shape":[8],"data_offsets":[16,48]}}' 48; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/model.safetensors: tensor "b": overlaps the one before it

case a missing tensor
do model bayes; st m/model.safetensors '{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}}' 32; fovea predict m "$FIX/train.txt"
exit 4
err~ fovea: error: m/model.safetensors: 

case malformed configuration
do model linear; echo '{' > m/config.json; fovea predict m "$FIX/train.txt"
exit 4
err~ fovea: error: m/config.json:2:0: malformed JSON

case somebody else's configuration
do model linear; echo '{"model_type": "bert"}' > m/config.json; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/config.json: not a model of fovea

case unknown kind
do model linear; sed -i 's/"linear"/"convnet"/' m/config.json; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/config.json: unknown model
err   found:   "convnet"

case heads that do not divide the width
do model transformer; sed -i 's/"heads": 2/"heads": 3/' m/config.json; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/config.json: heads must divide d_model

case malformed tokenizer
do model linear; echo 'x' > m/tokenizer.json; fovea predict m "$FIX/train.txt"
exit 4
err~ fovea: error: m/tokenizer.json:1:1: malformed JSON

case predict, all formats
do printf 'goal team\n' > t.txt
do fovea predict "$FIX/bayes" t.txt; fovea predict-prob "$FIX/bayes" t.txt | cut -c 1-7; fovea classify -m "$FIX/bayes" -i t.txt --format jsonl | cut -c 1-30
out sport
out sport 0
out {"labels": [{"label": "sport",

case predict from standard input, k classes
do printf 'goal team\nvote law\n' | fovea predict "$FIX/linear" - 2 --format tsv
out sport	politics
out politics	sport

case threshold may leave a line empty
do printf 'goal team\n' | fovea predict "$FIX/linear" --threshold 1 | od -c | head -n 1
out~ \n

case eval prints classes
do fovea eval "$FIX/linear" "$FIX/train.txt"
out class     texts  precision  recall      f1
out~ politics    100
out~ sport       100

case wide characters take two columns of a table
do sed 's/__label__sport/__label__\xe4\xbd\x93\xe8\x82\xb2\xe6\x96\xb0\xe9\x97\xbb/' "$FIX/train.txt" > t.txt; fovea train t.txt --model bayes -o m -q > /dev/null; fovea eval m t.txt | grep -e politics -e 体育 | sed 's/体育新闻/xxxxxxxx/' | cut -b 1-15
out politics    100
out xxxxxxxx    100

case eval with fastText's words
do fovea test "$FIX/linear" "$FIX/train.txt" 2
out top-2     1.0000

case eval in JSON
do fovea eval "$FIX/linear" "$FIX/train.txt" --format json | grep -c '"accuracy"'
out 1

case below the target
do fovea eval "$FIX/linear" "$FIX/train.txt" --metric loss --fail-under 0.0000001
exit 7
out~ accuracy
err fovea: error: loss is above what was asked
err~ found:   0.00

case wrong metric
do fovea eval "$FIX/linear" "$FIX/train.txt" --metric acc
exit 2
err fovea: error: --metric: wrong value
err   try:     accuracy

case eval without a file
do fovea eval "$FIX/linear"
exit 2
err fovea: error: --input is missing: a file of labelled texts, or - for standard input

case explain in the terminal
do fovea explain "$FIX/transformer" 'goal team vote'
out~ Attention
out~ Gradient x attention for

case explain to files
do fovea explain "$FIX/transformer" 'goal team vote' -o a.html -o a.png -o a.svg -o a.pdf -o a.npy
file a.html
file a.pdf
file a.png
file a.svg
file a.npy

case explain to an unknown kind of file
do fovea explain "$FIX/transformer" goal -o a.gif
exit 2
err fovea: error: --output: unknown kind of file
err   found:   a.gif
nofile a.gif

case explain an unknown class
do fovea explain "$FIX/transformer" goal --class weather
exit 2
err~ weather

case explain a head that is not there
do fovea explain "$FIX/transformer" 'goal team' --heads 9
exit 2
err~ fovea: error: 

case text never reaches the page unescaped
do fovea explain "$FIX/transformer" '<script>alert(1)</script> <b>goal</b>' -o a.html && ! grep -q '<script>alert(1)' a.html && ! grep -q '<b>goal' a.html && echo escaped
out escaped

case words that the model does not know are said
do fovea explain "$FIX/transformer" 'goal zorgblat' -o a.html -o a.txt; head -n 6 a.txt; grep -c '"unknown":\[1\]' a.html
err fovea: warning: 1 of 2 tokens are not in the vocabulary: "zorgblat"
out 1 of 2 tokens are not in the vocabulary: "zorgblat"
out 1

case a text that is cut is said
do for i in 1 2 3 4 5 6 7 8 9 10; do printf 'goal team vote law '; done > t; for i in 1 2 3 4 5 6 7 8 9 10; do cat t t t; done | fovea explain "$FIX/transformer" -o a.txt; grep -c 'bytes were cut off' a.txt
err~ fovea: warning: the model read the first
out 1

case the heading says the run's name
do model transformer; fovea explain m/ 'goal team' -o a.html -o a.svg && grep -c '"model":{"name":"m"' a.html; grep -c '(m)' a.svg
out 1

case explain as a table
do fovea explain "$FIX/transformer" 'goal team' --format tsv | head -n 1 | cut -f 1
out token

case weights of another program in the terminal
do npy w.npy '<f4' '(2, 2)' 16; floats w.npy .5 .5 .25 1; floats w.npy .5 .5 0 1; printf 'ab\ncd\n' > words; fovea show w.npy --labels words
out~ query (row) attends to key (column)
out~ cd
not warning

case weights to files, one sentence as words, a batch of one
do npy w.npy '<f4' '(1, 1, 2, 1, 2)' 16; floats w.npy .5 .5 0 1; echo 'zwei Woerter' > keys; fovea show w.npy --keys keys -o a.html -o a.pdf -o a.svg && grep -c Woerter a.svg
out 1
file a.html
file a.pdf
err wrote a.html

case several files are maps of one page
do npy a.npy '<f4' '(2, 2)' 16; npy b.npy '<f2' '(1, 3, 4)' 24; fovea show a.npy b.npy -o c.html && grep -c '"caption":"b.npy"' c.html; fovea show a.npy b.npy -o c.svg --matrix map-2:0:0
out 1
file c.svg

case words that are not as many as the tokens
do npy w.npy '<f4' '(2, 3)' 24; echo 'one two' > q; fovea show w.npy --queries q --keys q
exit 3
err fovea: error: q: not the words of w.npy
err   expected 3, one for each of its keys
err   found:   2

case scores are no weights; the hint leads on
do npy w.npy '<f4' '(2, 2)' 16; floats w.npy 0 1 -1 0; fovea show w.npy || fovea show w.npy --softmax -o a.svg
err fovea: error: w.npy: layer 0, head 0, query 1, key 0 is no attention weight
err   found:   -1
err   try:     --softmax, when these are scores before the softmax
file a.svg

case a weight that is not a number has a place
do npy w.npy '<f4' '(2, 2)' 16; floats w.npy 0 1 nan 1; fovea show w.npy
exit 3
err~ query 1, key 0 is no attention weight

case rows of NaN are queries that see nothing
do npy w.npy '<f4' '(2, 2)' 16; floats w.npy 0 1 nan nan; fovea show w.npy -o a.svg
err fovea: warning: w.npy: 1 rows are NaN throughout: shown as queries that see nothing

case rows that do not sum to one; the hint leads on
do npy w.npy '<f4' '(2, 2)' 16; floats w.npy .5 1 1 1; fovea show w.npy -o a.svg; fovea show w.npy --normalize -o b.svg 2>&1 | grep -c warning
exit 1
out 0
err fovea: warning: w.npy: rows do not sum to 1 (sums from 1.5 to 2): shown as they are
err   try:     --normalize, which divides each row by its sum

case an array of another shape
do npy w.npy '<f4' '(1, 2, 2, 2, 2, 2)' 128; fovea show w.npy
exit 3
err fovea: error: w.npy: no attention weights
err~ expected (layers, heads, queries, keys)

case show without a file
do fovea show
exit 2
err fovea: error: --input is missing: a .npy or .safetensors file of attention weights

case info of a model
do fovea info "$FIX/transformer" --tensors
out~ classes            politics, sport
out~ embed.weight
out~ transformer

case info of a missing thing
do fovea info nix
exit 3
err fovea: error: nix: cannot be read
err   found:   nothing of this name

case sizes of the configuration that overflow together
do model linear; sed -i 's/"grams": [0-9]*/"grams": 9223372036854775807/' m/config.json; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/config.json: "grams"
err   found:   9223372036854775807

case an unknown mechanism in the configuration
do model transformer; sed -i 's/"mechanism": "softmax"/"attention": "softmx"/' m/config.json; fovea predict m "$FIX/train.txt"
exit 4
err fovea: error: m/config.json: unknown attention mechanism
err   found:   "softmx"

case a word of a megabyte
do fovea train "$FIX/train.txt" --model transformer --tokenizer bpe --vocab-size 300 --ngram-bits 8 --d-model 8 --heads 1 --layers 1 --epochs 1 -o a -q >/dev/null
do head -c 1000000 /dev/zero | tr '\000' 'x' > long.txt; address_space 3000000; fovea predict a long.txt -q | grep -cE '^(sport|politics)$'
out 1

case a model of an earlier version: the names its options had then
do model transformer; fovea predict m "$FIX/train.txt" > new.txt
do sed -i 's/"d-model"/"width"/; s/"d-ff"/"ffn"/; s/"mechanism"/"attention"/; s/"pooling"/"pool"/' m/config.json
do grep -c '"width"\|"ffn"\|"attention": "softmax"\|"pool"' m/config.json; fovea predict m "$FIX/train.txt" > old.txt; cmp old.txt new.txt && echo same
out 4
out same
not ignored
