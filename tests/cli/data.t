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
err   try:     iconv -f WINDOWS-1252 -t UTF-8 utf.txt > utf8.txt

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
err fovea: error: cols.csv:1: no column "text" and no column "label"
err   found:   "x", "y"
err   try:     --text-col NAME --label-col NAME

case column number out of range
do printf 'a,b\n' > cols.csv; fovea train cols.csv --text-col 9 --label-col 1
exit 3
err fovea: error: cols.csv:1: no column "9"
err   expected names in the first row, or numbers from 1 to 2

case ragged row
do printf 'label\ttext\na\tx\ty\n' > r.tsv; fovea train r.tsv
exit 3
err fovea: error: r.tsv:2: the number of fields differs from the first row's
err   expected 2
err   found:   3, separated by tab

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

case the iconv that is advised leads on
do printf 'label,text\na,don\222t \223quote\224\nb,y\n' > w.csv
do fovea check w.csv 2> said; sed -n 's/^ *try: *//p' said > hint; cat hint; sh hint && fovea check utf8.csv
out iconv -f WINDOWS-1252 -t UTF-8 w.csv > utf8.csv
out~ utf8.csv: ok, 2 texts, 2 classes

case fields between semicolons, said aloud, and the flag that is named
do printf 'label;text\na;x, y\nb;z\na;w, x\n' > s.csv; fovea check s.csv && fovea check s.csv --delimiter ';' -q
out~ s.csv: ok, 3 texts, 2 classes
err s.csv: its fields are separated by ';', as --delimiter ';' says

case a delimiter that is none
do printf 'a,b\n' > s.csv; fovea check s.csv --delimiter '::'
exit 2
err fovea: error: the delimiter
err found:   "::"

case TSV as pandas quotes it, CSV of lines with CR, JSON over several lines
do printf 'text\tlabel\n"a ""b""\tc"\tx\nplain\ty\n' > p.tsv; fovea check p.tsv
do printf 'label,text\ra,one\rb,two\r' > m.csv; fovea check m.csv
do printf '[\n  {"text": "a", "label": 1},\n  {"text": "b", "label": 2, "id": 18446744073709551615}\n]\n' > j.json; fovea check j.json
do printf '{\n  "text": "a",\n  "label": 1\n}\n{\n  "text": "b",\n  "label": 2\n}\n' > j.jsonl; fovea check j.jsonl
out~ p.tsv: ok, 2 texts, 2 classes
out~ m.csv: ok, 2 texts, 2 classes
out~ j.json: ok, 2 texts, 2 classes
out~ j.jsonl: ok, 2 texts, 2 classes

case empty columns that nobody asks for
do printf 'label,text,,\na,x y,,\nb,z,,\n' > t.csv; fovea check t.csv
out~ t.csv: ok, 2 texts, 2 classes

case two files in one, each with its mark
do printf '\357\273\277"label","text"\n"a","x"\n"b","z"\n' > one.csv; cat one.csv one.csv > two.csv; fovea check two.csv
exit 3
err~ two.csv:4: a byte order mark (U+FEFF) inside the file

case files one by one, as the message about joined files says
do printf '\357\273\277label,text\na,x\nb,z\n' > one.csv; fovea train -i one.csv -i one.csv --model bayes --valid-share 0 -o m -q && echo done
out done

case a header that is asked for by number
do printf 'label,text\na,x\nb,y\n' > n.csv; fovea check n.csv --label-col 1 --text-col 2
out~ n.csv: ok, 2 texts, 2 classes
err n.csv: its first row is taken for a header; --header no reads it as data

case a label behind the text
do printf '__label__a goal team __label__b\n__label__b x\n' > two.txt; fovea check two.txt
exit 3
err fovea: error: two.txt:1: several labels on one line

case labels that stand behind the text alone
do printf 'goal team __label__a\nvote law __label__b\n' > b.txt; fovea check b.txt
out~ b.txt: ok, 2 texts, 2 classes

case every line has an answer, however odd it is
do printf 'goal team\n__label__ vote\ncaf\351 law\n\na\000b\n' > odd.txt
do fovea predict "$FIX/bayes" odd.txt 2>/dev/null | wc -l | tr -d ' '; fovea predict "$FIX/bayes" < odd.txt | wc -l | tr -d ' '
out 5
not error
err~ standard input:3: not UTF-8: byte 0xE9
err~ standard input:5: not text

case nothing to answer is no error
do : > none.txt; fovea predict "$FIX/bayes" none.txt && fovea predict "$FIX/bayes" < none.txt && echo fine
out fine
not error

case answers come while the pipe is open
do mkfifo lines answers; fovea predict "$FIX/bayes" < lines > answers & exec 4> lines 5< answers
do echo 'goal team win' >&4; read -r first <&5; echo 'vote law tax' >&4; read -r second <&5; echo "$first $second"
do exec 4>&- 5<&-; wait
out sport politics

case a text to explain that is not UTF-8
do printf 'caf\351 alpha\n' | fovea explain "$FIX/bayes"
exit 3
err fovea: error: standard input:1: not UTF-8: byte 0xE9
err~ iconv -f WINDOWS-1252

case the test is in the training
do fovea train "$FIX/train.txt" --test "$FIX/train.txt" --model bayes -o m -q > /dev/null
err~ of the 200 test texts are also training texts

case a class of equal texts is on both sides
do awk 'BEGIN { for (i = 0; i < 60; i++) print "__label__" (i % 3 ? "a" : "b") " number " i; for (i = 0; i < 20; i++) print "__label__dup no comment" }' > d.txt
do fovea train d.txt --model bayes -o m -q > /dev/null; echo 'no comment' | fovea predict m
out dup
err~ split: class "dup" has so many equal texts that they stand on both sides

case an odd row does not end the rest
do printf '{"text": "goal team"}\n{"text": \n{"no": "text"}\n{"text": "vote law"}\n' > odd.jsonl; fovea predict "$FIX/bayes" odd.jsonl 2>/dev/null | wc -l | tr -d ' '
do printf 'text,x\ngoal team,1\nvote law\n' > odd.csv; fovea predict "$FIX/bayes" odd.csv
out 4
out politics
err~ odd.csv:3: the number of fields differs

case a header that is taken for a number
do printf 'price,what\n1,a\n2,b\n' > p.csv; fovea train p.csv --task regress --model linear --label-col 1 --text-col 2 -o m
exit 3
err try:     --header yes, if this row names the columns
