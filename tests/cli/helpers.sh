# Functions for the cases and their fixtures. Sourced by tests/cli/run.
# shellcheck shell=sh

# npy FILE DTYPE SHAPE BYTES: an .npy file of zeros, such as: npy q.npy '<f4' '(1, 1, 2, 4)' 32
npy() {
    header="{'descr': '$2', 'fortran_order': False, 'shape': $3, }"
    while [ $(((${#header} + 11) % 64)) -ne 0 ]; do header="$header "; done
    # shellcheck disable=SC2059
    printf "\\223NUMPY\\001\\000\\$(printf %03o $((${#header} + 1)))\\000" >"$1"
    printf '%s\n' "$header" >>"$1"
    head -c "$4" /dev/zero >>"$1"
}

# st FILE HEADER BYTES: a .safetensors file of zeros
st() {
    length=${#2}
    # shellcheck disable=SC2059
    printf "\\$(printf %03o $((length % 256)))\\$(printf %03o $((length / 256)))\\000\\000\\000\\000\\000\\000" >"$1"
    printf '%s' "$2" >>"$1"
    head -c "$3" /dev/zero >>"$1"
}

# texts N: lines of fastText that a model can learn
texts() {
    awk -v n="$1" 'BEGIN { srand(7)
        split("goal team league striker coach win penalty stadium", a, " ")
        split("vote law budget election party senate reform tax", b, " ")
        for (i = 0; i < n; i++) { line = i % 2 ? "__label__sport" : "__label__politics"
            for (k = 0; k < 8; k++) line = line " " (rand() < .5 ? (i % 2 ? a[1 + int(rand() * 8)] : b[1 + int(rand() * 8)]) : "word" int(rand() * 9))
            print line } }'
}

# model KIND: a copy of a trained model in ./m
model() { cp -r "$FIX/$1" m; }

# patch FILE OFFSET BYTES: overwrite bytes in place (BYTES as for printf)
patch() {
    # shellcheck disable=SC2059
    printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# floats FILE NUMBER...: the numbers of an .npy file of f32, from the first; each is one of 0 1 .5 .25 -1 nan
floats() {
    file=$1
    at=128
    shift
    for number in "$@"; do
        case $number in 0) bits='\000\000\000\000' ;; 1) bits='\000\000\200\077' ;; .5) bits='\000\000\000\077' ;; .25) bits='\000\000\200\076' ;;
            -1) bits='\000\000\200\277' ;; nan) bits='\000\000\300\177' ;; esac
        patch "$file" $at "$bits"
        at=$((at + 4))
    done
}

make_fixtures() {
    texts 200 >"$FIX/train.txt" &&
        fovea train "$FIX/train.txt" --model bayes -o "$FIX/bayes" -q >/dev/null &&
        fovea train "$FIX/train.txt" --model linear -o "$FIX/linear" -q >/dev/null &&
        fovea train "$FIX/train.txt" --model transformer -o "$FIX/transformer" --d-model 16 --heads 2 --layers 1 --epochs 4 --learning-rate 0.01 -q >/dev/null
}

# address_space KIB: a limit for what follows in this shell; none under AddressSanitizer, whose shadow takes terabytes
address_space() { grep -q __asan_init "$(command -v fovea)" || ulimit -v "$1"; }
