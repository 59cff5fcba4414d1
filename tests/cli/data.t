# Input data that cannot be used: what is said, and that nothing is left behind.

case missing file
do fovea train nofile.txt
exit 3
err fovea: error: nofile.txt: cannot open: No such file or directory
nofile runs

case empty file
do : > empty.txt; fovea train empty.txt
exit 3
err fovea: error: empty.txt: no texts

case a folder
do fovea train .
exit 3
err fovea: error: .: cannot be read
err   found:   a folder
err   expected a file

case a file that cannot be read
do fovea train /proc/self/mem
exit 3
err~ fovea: error: /proc/self/mem: 

case binary file
do printf '\376\355\001\002\n\000\001' > b.bin; fovea train b.bin
exit 3
err fovea: error: b.bin:1: not UTF-8: byte 0xFE

case NUL byte
do printf '__label__a x\000y\n__label__b z\n' > nul.txt; fovea train nul.txt
exit 3
err fovea: error: nul.txt:1: not text
err   found:   a NUL byte

case invalid UTF-8
do printf '__label__a fine\n__label__b x\377\376\n' > utf.txt; fovea train utf.txt
exit 3
err fovea: error: utf.txt:2: not UTF-8: byte 0xFF
err   try:     iconv -f ISO-8859-1 -t UTF-8 utf.txt

case no label
do printf '1\twallet\tGive more sales to old clients\n__label__a x\n' > n.txt; fovea train n.txt
exit 3
err fovea: error: n.txt:1: no label
err   found:   a line without one

case one class only
do printf '__label__a x\n__label__a y\n' > one.txt; fovea train one.txt
exit 3
err fovea: error: one.txt: only one class
err   found:   "a" for all 2 texts

case two labels on a line
do printf '__label__a __label__b x\n__label__b y\n' > two.txt; fovea train two.txt
exit 3
err fovea: error: two.txt:1: several labels on one line
err   found:   2

case a label unseen in training
do printf '__label__sport goal\n__label__weather rain\n' > new.txt; fovea eval "$FIX/bayes" new.txt
exit 3
err fovea: error: new.txt:2: a label that was not seen in training
err   found:   "weather"
err   expected one of: politics, sport

case a label of --valid unseen in training
do printf '__label__weather rain\n' > new.txt; fovea train "$FIX/train.txt" --valid new.txt
exit 3
err fovea: error: new.txt:1: a label that was not seen in training
err   found:   "weather"
nofile runs

case unclosed quote
do printf 'label,text\na,"open\nb,x\n' > q.csv; fovea train q.csv
exit 3
err fovea: error: q.csv:2: a quote
err   found:   none

case duplicate header
do printf 'label,label,text\na,b,c\n' > dup.csv; fovea train dup.csv
exit 3
err fovea: error: dup.csv:1: two columns are named "label"

case missing column
do printf 'x,y\na,b\n' > cols.csv; fovea train cols.csv
exit 3
err fovea: error: cols.csv:1: the first row has no column "text"

case column number out of range
do printf 'a,b\n' > cols.csv; fovea train cols.csv --text-col 9 --label-col 1
exit 3
err fovea: error: cols.csv:1: no column "9" among the 2

case ragged row
do printf 'label\ttext\na\tx\ty\n' > r.tsv; fovea train r.tsv
exit 3
err fovea: error: r.tsv:2: the number of fields differs from the first row's
err   expected 2
err   found:   3

case malformed JSON lines
do printf '{"text": "a", "label": "b"}\n{"text": \n' > bad.jsonl; fovea train bad.jsonl
exit 3
err~ fovea: error: bad.jsonl:2:9: malformed JSON

case JSON line without the label
do printf '{"text": "a"}\n' > miss.jsonl; fovea train miss.jsonl
exit 3
err fovea: error: miss.jsonl:1: no label
err   found:   nothing

case lines have no columns
do fovea train "$FIX/train.txt" --split-col part
exit 2
err~ --split-col needs columns
err   found:   plain lines

case unknown format
do fovea train x.txt --input-format parquet
exit 2
err fovea: error: --input-format: wrong value
err   expected auto, csv, tsv, jsonl, fasttext, lines

case byte order mark and CRLF are no part of the data
do printf '\357\273\277__label__sport goal team\r\n__label__politics vote law\r\n' > bom.txt
do fovea eval "$FIX/bayes" bom.txt
out texts     2
out accuracy  1.0000

case a line of 100 MB
do { printf '__label__a '; head -c 100000000 /dev/zero | tr '\000' 'a'; printf '\n__label__b x\n'; } > long.txt
do fovea check long.txt >/dev/null 2>&1; code=$?; [ $code -eq 0 ] || [ $code -eq 3 ] || [ $code -eq 5 ] && echo survived
out survived

case check counts what is odd
do printf '__label__a x\n__label__b \n__label__a x\n' > odd.txt; fovea check odd.txt
out~ odd.txt: ok, 3 texts, 2 classes
err fovea: warning: odd.txt: 1 texts occur before

case check of several things reports each
do fovea check "$FIX/train.txt" nix "$FIX/bayes"
exit 3
out~ train.txt: ok, 200 texts, 2 classes
out~ bayes: ok, bayes
err fovea: error: nix: cannot be read
err   found:   nothing of this name

case predict keeps the number of lines
do printf 'goal team\n\nvote law\n' | fovea predict "$FIX/bayes" -q | wc -l | tr -d ' '
out 3

case prediction of a missing file
do fovea predict "$FIX/bayes" nofile.txt
exit 3
err fovea: error: nofile.txt: cannot open: No such file or directory

case nothing to explain
do fovea explain "$FIX/bayes" < /dev/null
exit 3
err fovea: error: standard input: nothing to explain
err   found:   none

case a list of data sets, and one that is none
do fovea data | grep -q '^app16' && fovea data app61
exit 2
err fovea: error: unknown data set
err   found:   "app61"

case a NUL character that JSON spells out
do printf '{"text": "a\\u0000b", "label": "c"}\n' > nul.jsonl; fovea train nul.jsonl
exit 3
err~ malformed JSON: \u0000 cannot be part of a text
