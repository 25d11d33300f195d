/* One instruction set's kernels, for all dtypes. An isa_*.c supplies, inside its target region:

     ISA              its name
     VECTOR_BYTES     bytes of its registers; then it includes vector_types.h
     MASKED_BITS      smallest element width in bits that has masked loads and stores; 128: none
     HAS_FLOAT16      defined if it converts float16

     wide to_double(floats_narrow)
     floats_whole fused_float(a, b, c)                  a * b + c, in convolutions: with one rounding
     wide fused_double(a, b, c)                         where there is such an instruction
     CONV_PIXELS, CONV_ROWS, CONV_VECTORS               the tiles of conv_body.h
     load_first_T(const T *from, ptrdiff_t n)           for the masked types T of float, double and
     store_first_T(T *to, vector, ptrdiff_t n)          uint16_t: the first n values; the rest loads as 0
     words_whole widen(halves_whole)                    16 to 32 bits
     halves_whole upper_halves(words_whole)             the upper 16 bits of each word
     floats_whole float16_to_float(halves_whole)        with HAS_FLOAT16
     halves_whole float_to_float16(floats_whole)        with HAS_FLOAT16; round to nearest, ties to even
     floats_whole to_float(words_whole)                 without HAS_FLOAT16
     void stream_line(void *to, const void *line)       a cache line, past the cache; `to` is aligned
     void stream_fence(void)                            makes streamed lines visible to other threads

   docs/design.md tells what bits must not depend on. */

#define JOIN2_(a, b) a##_##b
#define JOIN2(a, b) JOIN2_(a, b)
#define JOIN3_(a, b, c) a##_##b##_##c
#define JOIN3(a, b, c) JOIN3_(a, b, c)

enum {
    LANE_WIDES = BN_LANES / WIDE, /* vectors that hold the lanes of a sum in double */
    SUM_VECTORS = 4,              /* of each sum, which a planar loop has in registers */
    SUM_TERMS = 4,                /* terms that are added up in a row before they are added in double */
    CONV_TERMS = 128,             /* convolution: terms that are added up in a row */
    TILE_CHANNELS = 64,           /* planar: channels whose sums stay in L1 */
    POOL_TERMS = 32,              /* mean of large windows: terms that are added up in a row */
};

#include "wide_body.h"

#include "stream_body.h"

#include "float16_body.h"

#define DTYPE float32
#define stored float
#define BITS 32
#define real float
#define NETWORKS 1
#define UNPACK(v) (v)
#define PACK(v) (v)
#include "dtype_body.h"

#define DTYPE float64
#define stored double
#define BITS 64
#define real double
#define NETWORKS 1
#define UNPACK(v) (v)
#define PACK(v) (v)
#include "dtype_body.h"

#define DTYPE float16
#define stored uint16_t
#define BITS 16
#define real float
#define NETWORKS 0
#define UNPACK(v) from_float16(v)
#define PACK(v) to_float16(v)
#include "dtype_body.h"

#define DTYPE bfloat16
#define stored uint16_t
#define BITS 16
#define real float
#define NETWORKS 0
#define UNPACK(v) from_bfloat16(v)
#define PACK(v) to_bfloat16(v)
#include "dtype_body.h"

#define STRING_(text) #text
#define STRING(text) STRING_(text)
const bn_isa JOIN2(bn_isa, ISA) = {
    .name = STRING(ISA),
    .float32 = &JOIN3(table, float32, ISA),
    .float64 = &JOIN3(table, float64, ISA),
    .float16 = &JOIN3(table, float16, ISA),
    .bfloat16 = &JOIN3(table, bfloat16, ISA),
};
