/* Scaled dot-product attention. Vaswani et al., Attention Is All You Need, 2017, arXiv 1706.03762; tiled and online as
 * in Dao et al., FlashAttention, 2022, arXiv 2205.14135.
 *
 *   forward    S = scale Q K^T (+ softcap, bias, masks)   P = softmax of rows   O = P V   LSE = ln of the sum of exp(S)
 *   backward   dV = P^T dO   dP = dO V^T   D = rowsum(dO O) - dLSE   dS = P (dP - D)
 *              dQ = scale dS K   dK = scale dS^T Q
 */
#include "attn/engine/tile/tile.h"
#include "attn/mech/exact.h"

const fv__mechanism fv__mech_softmax = {
    .info = {.name = "softmax",
             .summary = "scaled dot-product attention, exact, tiled",
             .citation = "Vaswani et al. 2017, arXiv 1706.03762",
             .cost = "O(n m d) time, O(n d) memory",
             .needs = FV_EXACT_NEEDS,
             .takes = FV_EXACT_TAKES,
             .can = FV_TILE_CAN,
             .examples = {"softmax"}},
    .engine = &fv__tile,
    .reference = fv__exact_reference,
};
