/* Vectors of the data's dtype (vec), their conversion to doubles (wide), and what the compiler's
   vector types lack: parts of a vector, and a choice. Without vector types all of them are scalars. */

#if BN_VECTORS
enum { NAME(VEC) = VECTOR_BYTES / sizeof(real) }; /* values in a vector */
typedef real NAME(vec) VECTOR(VECTOR_BYTES);
typedef real NAME(vec_anywhere) UNALIGNED(VECTOR_BYTES, real);
typedef real NAME(narrow) VECTOR(WIDE * sizeof(real)); /* as many reals as a wide has doubles */
typedef real NAME(narrow_anywhere) UNALIGNED(WIDE * sizeof(real), real);
#if EXACT_PRODUCT
#define WIDEN(x) TO_DOUBLE(x)
#else
#define WIDEN(x) (x)
#endif
/* a where `condition` (a comparison of vectors) holds, else b */
#define CHOOSE(condition, a, b)                                                                   \
    ((__typeof__(a))(((condition) & (__typeof__(condition))(a)) |                                 \
                     (~(condition) & (__typeof__(condition))(b))))
/* g * activation'(z) */
#define GATE(g, z, activation, negative)                                                          \
    CHOOSE((z) > 0, g, (activation) == BN_RELU ? (__typeof__(g)){0} : (g) * (negative))
#else
enum { NAME(VEC) = 1 };
typedef real NAME(vec), NAME(vec_anywhere), NAME(narrow), NAME(narrow_anywhere);
#define WIDEN(x) ((double)(x))
#define CHOOSE(condition, a, b) ((condition) ? (a) : (b))
#define GATE(g, z, activation, negative)                                                          \
    ((z) > 0 ? (g) : (activation) == BN_RELU ? 0 : (g) * (negative))
#endif

#define MULTIPLY_ADD(a, b, c) (EXACT_PRODUCT ? FUSED(a, b, c) : (a) * (b) + (c))

ALWAYS_INLINE NAME(vec) NAME(load)(const real *x) { return *(const NAME(vec_anywhere) *)x; }

ALWAYS_INLINE void NAME(store)(real *y, NAME(vec) v) { *(NAME(vec_anywhere) *)y = v; }

ALWAYS_INLINE NAME(narrow) NAME(load_narrow)(const real *x)
{
    return *(const NAME(narrow_anywhere) *)x;
}

ALWAYS_INLINE NAME(vec) NAME(splat)(real x) { return x - (NAME(vec)){0}; }

/* The first n < VEC values of a vector, zeros after them; nothing beyond x[n - 1] is read. */
ALWAYS_INLINE NAME(vec) NAME(load_part)(const real *x, ptrdiff_t n)
{
#ifdef LOAD_PART_float32
    return (NAME(vec))JOIN2(LOAD_PART, DTYPE)(x, n);
#else
    real padded[NAME(VEC)] = {0};
    for (int i = 0; i < NAME(VEC) - 1; i++)
        if (i < n) padded[i] = x[i];
    return NAME(load)(padded);
#endif
}

ALWAYS_INLINE void NAME(store_part)(real *y, NAME(vec) v, ptrdiff_t n)
{
#ifdef STORE_PART_float32
    JOIN2(STORE_PART, DTYPE)(y, v, n);
#else
    real padded[NAME(VEC)];
    NAME(store)(padded, v);
    for (int i = 0; i < NAME(VEC) - 1; i++)
        if (i < n) y[i] = padded[i];
#endif
}
