/* The vector types of an instruction set whose registers have VECTOR_BYTES. `whole` vectors have as
   many values as a register has floats, `narrow` ones as many as it has doubles. */

#if BN_VECTORS
#define VECTOR(bytes) __attribute__((vector_size(bytes)))
#define UNALIGNED_VECTOR(bytes, type)                                                                    \
    __attribute__((vector_size(bytes), aligned(sizeof(type)), may_alias))
/* Each value as the same number in another type. */
#define CONVERT(v, type) __builtin_convertvector(v, type)
/* a where `condition` (a comparison of vectors) holds, else b. A macro: it serves every vector type. */
#define SELECT(condition, a, b)                                                                   \
    ((__typeof__(a))(((condition) & (__typeof__(condition))(a)) |                                 \
                     (~(condition) & (__typeof__(condition))(b))))
/* a, but 0 where `condition` holds. */
#define ZERO_WHERE(condition, a) ((__typeof__(a))(~(condition) & (__typeof__(condition))(a)))
#else
#define VECTOR(bytes)
#define ZERO_WHERE(condition, a) ((condition) ? 0 : (a))
#define UNALIGNED_VECTOR(bytes, type)
#define CONVERT(v, type) ((type)(v))
#define SELECT(condition, a, b) ((condition) ? (a) : (b))
#endif

#if BN_VECTORS
enum { WIDE = VECTOR_BYTES / sizeof(double) }; /* values in a narrow vector */
#else
enum { WIDE = 1 };
#endif
typedef double wide VECTOR(VECTOR_BYTES);
typedef float floats_whole VECTOR(VECTOR_BYTES);
typedef float floats_narrow VECTOR(VECTOR_BYTES / 2);
typedef int32_t words_whole VECTOR(VECTOR_BYTES);
typedef uint16_t halves_whole VECTOR(VECTOR_BYTES / 2);
