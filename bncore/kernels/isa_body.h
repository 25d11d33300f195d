/* One instruction set's kernels. Included by isa_*.c, inside the compiler's target region, with
     ISA                   its name
     VECTOR_BYTES          of its registers
     TO_DOUBLE(x)          a narrow vector of floats as a wide one
     FUSED(a, b, c)        a * b + c of wide vectors, whose products are exact
     MASKED_BITS           the least of a value for which there are (128: none)
     LOAD_PART_*(from, n)  the first n values of a vector, zeros after them; * is the values' type
     STORE_PART_*(to, v, n)
     TO_WORDS_narrow(h), _whole(h)  16-bit integers as 32-bit ones
     UPPER_HALVES(w)       of a whole vector of 32-bit integers
     HAS_FLOAT16           defined where there are FROM_FLOAT16_narrow(h), _whole(h), TO_FLOAT16(x),
                           else there is TO_FLOATS_narrow(w), _whole(w), of 32-bit integers
     STREAM_LINE(to, line) write an aligned cache line past the cache */

#define JOIN2_(a, b) a##_##b
#define JOIN2(a, b) JOIN2_(a, b)
#define JOIN3(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN3(a, b, c)

#if BN_VECTORS
#define VECTOR(bytes) __attribute__((vector_size(bytes)))
#define UNALIGNED(bytes, type)                                                                    \
    __attribute__((vector_size(bytes), aligned(sizeof(type)), may_alias))
enum { WIDE = VECTOR_BYTES / sizeof(double) }; /* doubles in a vector */
typedef double wide VECTOR(VECTOR_BYTES);
typedef int64_t wide_mask VECTOR(VECTOR_BYTES);
static const int64_t ones[2 * WIDE] = {[0 ... WIDE - 1] = -1};

/* d with zeros after its first n values (all of it, if n is larger). */
ALWAYS_INLINE wide first_of(wide d, ptrdiff_t n)
{
    wide_mask mask;
    memcpy(&mask, ones + WIDE - (n < 0 ? 0 : n > WIDE ? WIDE : n), sizeof mask);
    return (wide)((wide_mask)d & mask);
}
#else /* vectors of one value */
#define VECTOR(bytes)
enum { WIDE = 1 };
typedef double wide;
static double first_of(double d, ptrdiff_t n) { return n > 0 ? d : 0; }
#endif

ALWAYS_INLINE wide load_wide(const double *x)
{
    wide v;
    memcpy(&v, x, sizeof v);
    return v;
}

ALWAYS_INLINE void get(wide *v, const double *from, const int count)
{
    for (int i = 0; i < count; i++) v[i] = load_wide(from + i * WIDE);
}

ALWAYS_INLINE void put(const wide *v, double *to, const int count)
{
    for (int i = 0; i < count; i++) memcpy(to + i * WIDE, v + i, sizeof *v);
}

enum { LANE_WIDES = BN_LANES / WIDE };

/* The sum of all lanes: the second half is added to the first, until one is left. */
ALWAYS_INLINE double add_lanes(wide *v)
{
    double lanes[WIDE];
    UNROLL
    for (int half = LANE_WIDES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) v[i] += v[i + half];
    put(v, lanes, 1);
    UNROLL
    for (int half = WIDE / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

#include "stream_body.h"

#define COUNT WIDE
#define SIZED(name) name##_narrow
#include "float16_body.h"
#undef COUNT
#undef SIZED
#define COUNT (2 * WIDE)
#define SIZED(name) name##_whole
#define WRITTEN
#include "float16_body.h"

#define stored float
#define BITS 32
#define real float
#define EXACT_PRODUCT 1
#define DTYPE float32
#define UNPACK(v, size) (v)
#define PACK(v) (v)
#include "dtype_body.h"

#define stored double
#define BITS 64
#define real double
#define EXACT_PRODUCT 0
#define DTYPE float64
#define UNPACK(v, size) (v)
#define PACK(v) (v)
#include "dtype_body.h"

#define stored uint16_t
#define BITS 16
#define real float
#define EXACT_PRODUCT 1
#define DTYPE float16
#define UNPACK(v, size) from_float16_##size(v)
#define PACK(v) to_float16_whole(v)
#include "dtype_body.h"

#define stored uint16_t
#define BITS 16
#define real float
#define EXACT_PRODUCT 1
#define DTYPE bfloat16
#define UNPACK(v, size) from_bfloat16_##size(v)
#define PACK(v) to_bfloat16_whole(v)
#include "dtype_body.h"

/* What a bn_isa holds. */
#define TABLES(isa) #isa, &table_float32_##isa, &table_float64_##isa, &table_float16_##isa, &table_bfloat16_##isa
