# Tensors from files, the table of mechanisms, the self-test and the benchmark.

case uniform scores average the values
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --out o.safetensors -q && fovea info o.safetensors --format tsv
out lse	f32[1,1,2]	8
out out	f32[1,1,2,4]	32

case without --out a summary
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --format tsv
out tensor	shape	min	max	mean	not finite
out lse	f32[1,1,2]	0.693147	0.693147	0.693147	0
err nothing was saved      add --out FILE.safetensors, FILE.npy or FOLDER/

case one file in, one file out, with gradients and weights
do st in.safetensors '{"q":{"dtype":"F32","shape":[1,1,2,4],"data_offsets":[0,32]},"k":{"dtype":"F32","shape":[1,1,3,4],"data_offsets":[32,80]},"v":{"dtype":"F32","shape":[1,1,3,4],"data_offsets":[80,128]},"do":{"dtype":"F32","shape":[1,1,2,4],"data_offsets":[128,160]}}' 160
do fovea attend --in in.safetensors --out o.safetensors --weights softmax --rows 1 -q && fovea info o.safetensors --format tsv | cut -f 1,2 | sort
out dk	f32[1,1,3,4]
out dq	f32[1,1,2,4]
out dv	f32[1,1,3,4]
out weights	f32[1,1,1,3]

case a header whose length looks like a pickle
do st in.safetensors "$(printf '%-640s' '{"q":{"dtype":"F32","shape":[1,1,2,4],"data_offsets":[0,32]}}')" 32; fovea info in.safetensors --format tsv
out q	f32[1,1,2,4]	32

case the gradient of a bias has the shape of the bias
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy b.npy '<f4' '(2, 2)' 16; fovea attend q.npy q.npy q.npy --bias b.npy --do q.npy --format tsv -q | cut -f 1,2
out dbias	f32[2,2]

case tables of relative positions and their gradients
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy t.npy '<f4' '(1, 4)' 16
do fovea attend q.npy q.npy q.npy --attention t5:buckets=4,max-distance=3 --tensor table=t.npy --do q.npy --format tsv -q | cut -f 1-3
out out	f32[1,1,2,4]	0.000000
out lse	f32[1,1,2]	0.693147
out dtable	f32[1,4]	0.000000

case relative keys are in the raw scores
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy r.npy '<f4' '(3, 4)' 48
do fovea attend q.npy q.npy q.npy --attention shaw:max-distance=1 --tensor relative_keys=r.npy --weights raw --format tsv -q | cut -f 1-3
out weights	f32[1,1,2,2]	0.000000

case a table of another size
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy r.npy '<f4' '(3, 4)' 48
do fovea attend q.npy q.npy q.npy --attention shaw --tensor relative_keys=r.npy --format tsv -q
exit 2
err   expected (C,D) = (33,4)

case other names inside the file
do st in.safetensors '{"x.q":{"dtype":"F16","shape":[1,2,4],"data_offsets":[0,16]}}' 16
do fovea attend --in in.safetensors --name q=x.q --name k=x.q --name v=x.q --layout bld --heads 2 --format tsv -q | cut -f 1,2
out out	f16[1,2,4]
out lse	f32[1,2,2]

case a folder of .npy files
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --out looked/ -q
file looked/out.npy
file looked/lse.npy

case past keys give present keys
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy p.npy '<f4' '(1, 1, 3, 4)' 48
do fovea attend q.npy q.npy q.npy --past-k p.npy --past-v p.npy --causal upper-left --format tsv -q | cut -f 1-3
out present_k	f32[1,1,5,4]	0.000000
out lse	f32[1,1,2]	1.386294

case a recurrence goes on from a state and gives the last one, with gradients of both
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy b.npy '<f4' '(1, 1, 2)' 8; npy s.npy '<f4' '(1, 1, 4, 4)' 64
do fovea attend q.npy q.npy q.npy --attention deltanet --beta b.npy --state s.npy --do q.npy --format tsv -q | cut -f 1,2
out state_out	f32[1,1,4,4]
out dbeta	f32[1,1,2]
out dstate	f32[1,1,4,4]

case a recurrence without what it needs
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --attention gla
exit 2
err~ gla needs the tensor log_decay

case a plan runs nothing
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --plan
out~ softmax: 
out~ GFLOP, scratch
not nothing was saved

case no queries
do fovea attend
exit 2
err fovea: error: --q is missing: the queries, as FILE.npy or as tensor q of --in FILE.safetensors

case no keys
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy
exit 2
err fovea: error: softmax needs the tensor k

case missing file
do fovea attend --in nofile.safetensors
exit 3
err fovea: error: nofile.safetensors: cannot open: No such file or directory

case tensor of another name
do st a.safetensors '{"query":{"dtype":"F32","shape":[1,1,2,4],"data_offsets":[0,32]}}' 32; fovea attend --in a.safetensors
exit 3
err fovea: error: a.safetensors has no tensor q
err   found:   query

case overlapping tensors
do st a.safetensors '{"q":{"dtype":"F32","shape":[8],"data_offsets":[0,32]},"r":{"dtype":"F32","shape":[8],"data_offsets":[16,48]}}' 48; fovea attend --in a.safetensors
exit 3
err fovea: error: a.safetensors: tensor "r": overlaps the one before it

case unknown type
do st a.safetensors '{"q":{"dtype":"F99","shape":[1,1,2,4],"data_offsets":[0,32]}}' 32; fovea attend --in a.safetensors
exit 3
err fovea: error: a.safetensors: tensor "q": dtype F99 is not supported

case .npy cut short
do npy q.npy '<f4' '(1, 1, 2, 4)' 30; fovea attend q.npy q.npy q.npy
exit 3
err fovea: error: q.npy: is cut short

case .npy whose size overflows
do npy q.npy '<f4' '(9999999, 9999999, 9999999, 99)' 32; fovea attend q.npy q.npy q.npy
exit 3
err fovea: error: q.npy: the size of the array overflows

case integers are no queries
do npy q.npy '<i4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy
exit 2
err fovea: error: q has the wrong type
err   expected f32, f64, f16 or bf16
err   found:   i32

case wrong number of dimensions
do npy q.npy '<f4' '(1, 2, 4)' 32; fovea attend q.npy q.npy q.npy
exit 2
err fovea: error: q has the wrong number of dimensions
err   expected (batch, heads, length, head_dim)
err   try:     --layout bld --heads N

case --layout bld needs the heads
do npy q.npy '<f4' '(1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --layout bld
exit 2
err fovea: error: --heads is missing: --layout bld does not say how many heads there are

case heads that do not divide the head_dim
do npy q.npy '<f4' '(1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --layout bld --heads 3
exit 2
err fovea: error: 3 heads do not divide the head_dim of q

case keys and values of different lengths
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy v.npy '<f4' '(1, 1, 3, 4)' 48; fovea attend q.npy q.npy v.npy
exit 2
err fovea: error: attention: mechanism "softmax", operand "v"
err   found:   f32[1,1,3,4]

case a past that does not fit
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy p.npy '<f4' '(1, 2, 2, 4)' 64; fovea attend q.npy q.npy q.npy --past-k p.npy --past-v p.npy
exit 2
err fovea: error: past_k does not fit

case a bias with too many dimensions
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy b.npy '<f4' '(1, 1, 1, 2, 2)' 16; fovea attend q.npy q.npy q.npy --bias b.npy
exit 2
err~ operand "bias"

case a mask of floats
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy m.npy '<f4' '(2, 2)' 16; fovea attend q.npy q.npy q.npy --mask m.npy
exit 2
err fovea: error: mask has the wrong type
err   try:     give it as bias

case a tensor the mechanism does not take
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --gate q.npy
exit 2
err fovea: error: softmax does not take log_decay

case a parameter of the mechanism without a name
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --tensor w
exit 2
err fovea: error: --tensor: no name
err   found:   w
err   expected NAME=FILE, such as w=w.npy

case unknown mechanism
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --attention softmx
exit 2
err fovea: error: unknown mechanism softmx      did you mean softmax?

case unknown parameter of a mechanism
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --attention window:lft=3
exit 2
err~ unknown option "lft"
err~ did you mean "left"?

case rows that are not there
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --weights raw --rows 0,9
exit 2
err fovea: error: --rows: wrong numbers
err   found:   0,9
err   expected numbers from 0 to 1, such as 0,2-3

case an output of unknown kind
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --out o.txt
exit 2
err fovea: error: --out: unknown kind of file
err   found:   o.txt
err   expected FILE.safetensors, FILE.npy or FOLDER/

case an output that cannot be written
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --out nodir/o.npy
exit 1
err fovea: error: nodir/o.npy: cannot write: No such file or directory

case the disk is full
root
do npy q.npy '<f4' '(1, 4, 512, 64)' 524288; mkdir small; mount -t tmpfs -o size=100k tmpfs small
do echo old > small/o.npy; fovea attend q.npy q.npy q.npy --out small/o.npy -q; code=$?; cat small/o.npy; exit $code
exit 5
out old
err~ No space left on device

case table of mechanisms
do fovea mechanisms --format tsv | cut -f 1 | grep -cxE 'softmax|window'
out 2

case mechanisms as JSON
do fovea mechanisms softmax --format json | cut -c 1-18
out {"name": "softmax"

case unknown mechanism to explain
do fovea mechanisms softmx
exit 2
err fovea: error: unknown mechanism softmx      did you mean softmax?

case verify checks and passes
do fovea verify --count 4 --format tsv -q | head -n 1
out mechanism	outputs	gradients	weights	refused	failed	out f64	grad f64	out f32	grad f32	weights f64

case verify of an unknown mechanism
do fovea verify --attention sofmax
exit 2
err fovea: error: unknown mechanism sofmax      did you mean softmax?

case benchmark
do fovea bench attention --shape 1,2,128,16 -r 2 -o csv
out~ softmax,"1,2,128,16",f32,1,forward,
out~ softmax,"1,2,128,16",f32,1,both,
out~ mechanism,shape,type,threads,pass

case benchmark of a wrong shape
do fovea bench --shape 1,2
exit 2
err fovea: error: --shape: wrong shape
err   found:   1,2

case benchmark with a wrong number of threads
do fovea bench -t 0
exit 2
err fovea: error: --threads: wrong numbers
err   found:   0

case benchmark of several masks and types
do fovea bench attention --shape 1,2,96,16 -r 1 --causal none,upper-left --dtype f32,f64 -o csv -q | cut -d, -f1-8,14 | sort -u
out softmax,"1,2,96,16",f32,1,both,none
out softmax,"1,2,96,16",f32,1,both,upper-left
out softmax,"1,2,96,16",f64,1,both,none
out softmax,"1,2,96,16",f64,1,backward,upper-left

case benchmark of decoding
do fovea bench decode --shape 1,4/2,300,24 -r 2 --dtype f32,bf16,f16 -o tsv | cut -f 1-3
out 1,4/2,300,24	f32	1
out 1,4/2,300,24	bf16	1
out 1,4/2,300,24	f16	1
err~ every result agreed with attention over the same keys

case benchmark of decoding from a type that is not stored
do fovea bench decode --dtype f64
exit 2
err fovea: error: --dtype f64: a cache stores f32, bf16 or f16

case benchmark of half precision
do fovea bench attention --shape 1,2,96,16 -r 1 --dtype bf16,f16 -o tsv -q | cut -f 1-5
out softmax	1,2,96,16	bf16	1	both
out softmax	1,2,96,16	f16	1	both

case benchmark with dropout and a trained bias
do fovea bench attention --shape 1,2,96,16 -r 1 --dropout 0.1 --bias trained --causal upper-left -o md
out~ | upper-left |
out~ | dropout 0.1, trained bias |
err~ every result agreed with the reference

case benchmark of the forward alone
do fovea bench attention --shape 1,2,96,16 -r 1 --pass forward -o jsonl -q
out~ "pass": "forward"
not backward
not both

case benchmark of packed sequences and of the same tokens in equal lengths
do fovea bench attention --packed 2..9 --sentences 7 --shape 1,2,1,16 -r 1 -o tsv -q | cut -f 1-2,5
out softmax	7 x 2..9,2,16	both
out softmax	7 x equal to 2..9,2,16	both

case benchmark of the grid is nine shapes, full and causal
do fovea bench attention --grid --turns
exit 2
err fovea: error: --turns: wrong number of problems
err   expected one
err   found:   18

case benchmark of memory
do fovea bench attention --memory --shape 1,1,700,16 -o tsv -q | cut -f 1,2,6,7
out softmax	1,1,700,16		forward
out softmax	1,1,700,16	dropout 0.1	backward
out window:left=128,right=128	1,1,700,16	dropout 0.1	backward

case benchmark of maps
do fovea bench attention --statistics --shape 1,2,150,16 -r 1 --dtype f32,f16 -o tsv -q | cut -f 1-6
out softmax	1,2,150,16	f32	1	none	weights of 8 rows
out softmax	1,2,150,16	f16	1	none	mean and largest of 64 x 64

case benchmark of maps of packed sequences
do fovea bench attention --statistics --packed 2..9 -r 1
exit 2
err fovea: error: --statistics
err   found:   packed sequences

case benchmark in turns with another program
do printf '2\n\n' | fovea bench attention --turns --shape 1,2,32,8 -o tsv -q | grep -c '^$'
out 2

case benchmark in turns takes one problem
do fovea bench attention --turns --causal none,upper-left
exit 2
err fovea: error: --turns: wrong number of problems
err   expected one
err   found:   2

case benchmark of tensors from a file
do st t.safetensors '{"q":{"dtype":"F32","shape":[1,4,6,8],"data_offsets":[0,768]},"k":{"dtype":"F32","shape":[1,2,6,8],"data_offsets":[768,1152]},"v":{"dtype":"F32","shape":[1,2,6,8],"data_offsets":[1152,1536]}}' 1536
do fovea bench attention --in t.safetensors -r 1 -o tsv | cut -f 1-5
out softmax	1,4/2,6,8	f32	1	both

case benchmark of tensors from a file whose sequences end too early
do st t.safetensors '{"q":{"dtype":"F32","shape":[1,4,6,8],"data_offsets":[0,768]},"k":{"dtype":"F32","shape":[1,2,6,8],"data_offsets":[768,1152]},"v":{"dtype":"F32","shape":[1,2,6,8],"data_offsets":[1152,1536]},"cu_seqlens_q":{"dtype":"I32","shape":[2],"data_offsets":[1536,1544]}}' 1544
do fovea bench attention --in t.safetensors
exit 2
err~ operand "cu_seqlens_q", last element

case benchmark of tensors from a file that lacks one
do npy q.npy '<f4' '(1, 2, 5, 8)' 320; fovea bench attention --in q.npy
exit 3
err~ no tensor "q"

case benchmark of an unknown mask
do fovea bench attention --causal upper
exit 2
err fovea: error: --causal: unknown or too many values
err   found:   upper
err   expected some of none, upper-left, lower-right, with commas between

case benchmark of wrong lengths
do fovea bench attention --packed 9..2
exit 2
err fovea: error: --packed: wrong lengths
err   found:   9..2

case benchmark of training
do fovea bench train --updates 15 --width 16 --heads 2 --layers 1 --length 16 --batch-size 8 -o tsv | head -n 1
out model	threads	updates	tokens/update	ms/update	tokens/s

case an array beside the ones that fit into one file
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --weights softmax --do q.npy --out o.npy
err fovea: warning: o.npy holds out alone, not dq, dk, dv, weights
err   try:     --out FILE.safetensors or --out FOLDER/
file o.npy

case a tensor that the mechanism has no name for
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --tensor w=q.npy --out o.npy
exit 2
err fovea: error: --tensor w=q.npy: softmax has no tensor of this name
err   try:     fovea mechanisms softmax
nofile o.npy

case lengths of sequences that are no integers
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy cu.npy '<f4' '(2,)' 8; fovea attend q.npy q.npy q.npy --cu-seqlens-q cu.npy --out o.npy
exit 2
err fovea: error: cu_seqlens_q has the wrong type
err   expected i32 or i64
err   found:   f32

case rows of weights that nobody asked for
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --rows 0
exit 2
err fovea: error: --rows without --weights
err   try:     --weights softmax

case heads beside a layout that has them in its shape
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --kv-heads 1
exit 2
err fovea: error: --kv-heads without --layout bld

case an offset beside a diagonal that has its own
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --q-offset 1 --causal lower-right
exit 2
err fovea: error: --q-offset with --causal lower-right

case another name without a file to look it up
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --name q=x
exit 2
err fovea: error: --name without --in

case another name that is not in the file
do st in.safetensors '{"x.q":{"dtype":"F32","shape":[1,1,2,4],"data_offsets":[0,32]}}' 32; fovea attend --in in.safetensors --name q=x.q --name bias=x.b
exit 3
err~ in.safetensors: no tensor "x.b"

case another name for no tensor of the mechanism
do st in.safetensors '{"x.q":{"dtype":"F32","shape":[1,1,2,4],"data_offsets":[0,32]}}' 32; fovea attend --in in.safetensors --name w=x.q
exit 2
err fovea: error: --name w=x.q: softmax has no tensor of this name

case one array where a file of named tensors belongs
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend --in q.npy
exit 2
err fovea: error: --in q.npy: an .npy file holds one tensor without a name
err   try:     --q q.npy

case past keys without past values
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --past-k q.npy
exit 2
err fovea: error: a cache has keys and values
err   found:   only past_k

case a gradient of another shape
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy d.npy '<f4' '(1, 1, 2, 3)' 24; fovea attend q.npy q.npy q.npy --do d.npy
exit 2
err   expected a gradient of the shape of its tensor, f32[1,1,2,4]
err   found:   f32[1,1,2,3]

case the gradient of the log-sum-exp alone
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy d.npy '<f4' '(1, 1, 2)' 8; fovea attend q.npy q.npy q.npy --dlse d.npy --format tsv -q | cut -f 1,2
out dq	f32[1,1,2,4]
out dk	f32[1,1,2,4]
out dv	f32[1,1,2,4]

case rotary positions turn q against k by their distance
do npy q.npy '<f4' '(1, 1, 2, 2)' 16; for at in 128 136; do patch q.npy $at '\000\000\200\077'; done
do fovea attend q.npy q.npy q.npy --rope half --scale 1 --weights raw --rows 1 --format tsv -q | grep weights
out weights	f32[1,1,1,2]	0.540302	1.000000	0.770151	0

case rotary positions go on where the past ends
do npy q.npy '<f4' '(1, 1, 1, 2)' 8; patch q.npy 128 '\000\000\200\077'; npy p.npy '<f4' '(1, 1, 1, 2)' 8; patch p.npy 128 '\000\000\200\077'
do fovea attend q.npy q.npy q.npy --past-k p.npy --past-v p.npy --rope interleaved --scale 1 --weights raw --do q.npy --format tsv -q | cut -f 1-4 | grep -e weights -e present_k
out weights	f32[1,1,1,2]	0.540302	1.000000
out present_k	f32[1,1,2,2]	0.000000	1.000000

case rotary positions need an even number of columns
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --rope half --rope-dim 3
exit 2
err fovea: error: rope: columns
err found:   3

case rotary positions of a gate have nothing to turn
do npy x.npy '<f4' '(1, 1, 3, 4)' 48; npy w.npy '<f4' '(1, 4)' 16; npy b.npy '<f4' '(1,)' 4
do fovea attend --q x.npy --attention spatial-gate --tensor w=w.npy --tensor b=b.npy --rope half
exit 2
err fovea: error: --rope half
err   found:   spatial-gate

case a gate has no lse
do npy x.npy '<f4' '(1, 1, 3, 4)' 48; npy w.npy '<f4' '(1, 4)' 16; npy b.npy '<f4' '(1,)' 4
do fovea attend --q x.npy --attention spatial-gate --tensor w=w.npy --tensor b=b.npy --format tsv -q | cut -f 1,2
out out	f32[1,1,3,4]
not lse

case a prefix is seen from before it
do npy q.npy '<f4' '(1, 1, 4, 2)' 32; npy n.npy '<i8' '(1,)' 8; patch n.npy 128 '\003'
do fovea attend q.npy q.npy q.npy --causal upper-left --prefix-len n.npy --weights softmax --rows 0 --format tsv -q | grep weights
out weights	f32[1,1,1,4]	0.000000	0.333333	0.250000	0

case a prefix longer than the keys
do npy q.npy '<f4' '(1, 1, 4, 2)' 32; npy n.npy '<i8' '(1,)' 8; patch n.npy 128 '\005'; fovea attend q.npy q.npy q.npy --prefix-len n.npy
exit 2
err fovea: error: attention: operand "prefix_len", element 0
err expected 0 to 4
err found:   5

case statistics of all weights
do npy q.npy '<f4' '(1, 2, 3, 4)' 96; fovea attend q.npy q.npy q.npy --statistics pooled,columns,entropy --pool 2,1 --format tsv -q | cut -f 1-4
out columns	f32[1,2,3]	1.000000	1.000000
out entropy	f32[1,2,3]	1.098612	1.098612
out pooled_max	f32[1,2,2,3]	0.333333	0.333333
out pooled_mean	f32[1,2,2,3]	0.333333	0.333333

case a block of statistics that no sequence can have
do npy q.npy '<f4' '(1, 2, 3, 4)' 96; fovea attend q.npy q.npy q.npy --statistics pooled --pool 9223372036854775807,1
exit 2
err fovea: error: --pool: wrong sizes
err   found:   9223372036854775807,1
err expected BQ,BK, both from 1 to 2^48, such as 64,64

case statistics of one head of two packed sequences
do npy q.npy '<f4' '(1, 2, 3, 4)' 96; printf '\0\0\0\0\001\0\0\0\003\0\0\0' > raw; npy cu.npy '<i4' '(3,)' 0; cat raw >> cu.npy
do fovea attend q.npy q.npy q.npy --cu-seqlens-q cu.npy --statistics pooled,columns --head-list 1 --format tsv -q | cut -f 1-5
out columns	f32[1,1,3]	1.000000	1.000000	1.000000
out pooled_mean	f32[2,1,1,1]	0.500000	1.000000	0.750000

case weights after dropout
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --weights dropout --dropout 0.5 --format tsv -q | cut -f 1-2
out weights	f32[1,1,2,2]

case 16-bit tensors stay as they are
do npy q.npy '<f2' '(1, 1, 2, 4)' 16; fovea attend q.npy q.npy q.npy --plan --out o.safetensors && fovea info o.safetensors --format tsv | cut -f 1,2
out~ f16 tensors, f32 arithmetic
out out	f16[1,1,2,4]
out lse	f32[1,1,2]

case keys of another type than the queries
do npy q.npy '<f2' '(1, 1, 2, 4)' 16; npy k.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy k.npy k.npy --do q.npy --format tsv -q | cut -f 1,2
out out	f16[1,1,2,4]
out dk	f32[1,1,2,4]

case flags and mechanisms by their earlier names
do npy q.npy '<f4' '(1, 2, 3, 4)' 96; fovea attend q.npy q.npy q.npy --survey pooled,columns --survey-dropout --pool 2,1 --format tsv -q | cut -f 1
out out
out lse
out pooled_mean
out pooled_max
out columns
do fovea mechanisms pixel-gate | head -n 1
out~ spatial-gate

case an unknown part of statistics
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --statistics pooled,rows
exit 2
err fovea: error: --statistics pooled,rows: unknown part
err   found:   rows

case wrong sizes of blocks
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --statistics pooled --pool 2,0
exit 2
err fovea: error: --pool: wrong sizes
err   found:   2,0

case statistics of every mechanism with weights
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --attention topk:k=1 --statistics columns; fovea attend q.npy q.npy q.npy --attention entmax --statistics entropy,pooled; fovea attend q.npy q.npy q.npy --attention linear --statistics columns
exit 0

case no entropy where rows do not sum to one
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --attention retention --causal lower-right --statistics entropy
exit 2
err~ expected a mechanism whose rows of weights sum to 1

case the size of blocks without statistics of them
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --pool 8,8 --statistics entropy
exit 2
err fovea: error: --pool alone changes nothing
err   found:   none

case rotary positions that are not switched on
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --rope-base 500000
exit 2
err fovea: error: --rope-base alone changes nothing
err   found:   none

case a factor of rotary positions without the scaling it belongs to
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --rope half --rope-factor 4
exit 2
err fovea: error: --rope-factor alone changes nothing
err   found:   none

case an array in Fortran order is the same array, in every layout
do npy q.npy '<f4' '(1, 2, 4)' 32; for x in c f; do cp q.npy $x.npy; done; LC_ALL=C sed -i "s/'fortran_order': False/'fortran_order': True /" f.npy
do at=$(($(wc -c <q.npy) - 32)); for i in 3 7; do patch c.npy $((at + 4 * i)) '\000\000\200\077'; done; for i in 6 7; do patch f.npy $((at + 4 * i)) '\000\000\200\077'; done
do for x in c f; do fovea attend q.npy q.npy $x.npy --layout bld --heads 2 --out out-$x.npy -q || exit 9; done; cmp out-c.npy out-f.npy && fovea attend q.npy q.npy f.npy --layout bld --heads 2 --format tsv -q
out out	f32[1,2,4]	0.000000	1.000000	0.250000	0

case a gradient has the type of its tensor
do npy q.npy '<f2' '(1, 1, 2, 4)' 16; npy w.npy '<f4' '(1, 4)' 16
do fovea attend q.npy q.npy q.npy --attention additive --tensor w=w.npy --do q.npy --format tsv -q | cut -f 1,2
out dq	f16[1,1,2,4]
out dw	f32[1,4]

case the lowest number of a type is a number
do npy q.npy '<f4' '(1, 1, 1, 2)' 8; npy v.npy '<f4' '(1, 1, 2, 2)' 16; npy b.npy '<f4' '(1, 2)' 8; at=$(($(wc -c <b.npy) - 8)); for i in 0 4; do patch b.npy $((at + i)) '\377\377\177\377'; done
do at=$(($(wc -c <v.npy) - 16)); for i in 0 4; do patch v.npy $((at + i)) '\000\000\200\077'; done
do fovea attend q.npy v.npy v.npy --bias b.npy --format tsv -q | cut -f 1-3
out out	f32[1,1,1,2]	0.500000
out lse	f32[1,1,1]	-340282346638528859811704183484516925440.000000

case a dropout of 1 leaves nothing
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; npy v.npy '<f4' '(1, 1, 2, 4)' 32; at=$(($(wc -c <v.npy) - 32)); patch v.npy $at '\000\000\200\077'
do fovea attend q.npy q.npy v.npy --dropout 1 --do v.npy --format tsv -q | cut -f 1-4
out out	f32[1,1,2,4]	0.000000	0.000000
out dv	f32[1,1,2,4]	0.000000	0.000000

case a scale where there are no scores
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy q.npy q.npy --attention linear --scale 0.5
exit 2
err fovea: error: --scale with linear

case positions where there are none
do npy q.npy '<f4' '(1, 1, 2, 4)' 32; fovea attend q.npy --attention eca --q-offset 3
exit 2
err fovea: error: --q-offset with eca
