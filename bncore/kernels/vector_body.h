/* Vectors of the arithmetic's dtype (vec), their conversion to doubles (wide), from and to the data's
   dtype (packed), and what the compiler's vector types lack: parts of a vector, and a choice. Without
   vector types all of them are scalars. */

#if BN_VECTORS
enum { NAME(VEC) = VECTOR_BYTES / sizeof(real) }; /* values in a vector */
typedef real NAME(vec) VECTOR(VECTOR_BYTES);
typedef real NAME(vec_anywhere) UNALIGNED(VECTOR_BYTES, real);
typedef real NAME(narrow) VECTOR(WIDE * sizeof(real)); /* as many reals as a wide has doubles */
typedef real NAME(narrow_anywhere) UNALIGNED(WIDE * sizeof(real), real);
typedef stored NAME(packed) VECTOR(NAME(VEC) * sizeof(stored));
typedef stored NAME(packed_anywhere) UNALIGNED(NAME(VEC) * sizeof(stored), stored);
typedef stored NAME(packed_narrow) UNALIGNED(WIDE * sizeof(stored), stored);
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
typedef stored NAME(packed), NAME(packed_anywhere), NAME(packed_narrow);
#define WIDEN(x) ((double)(x))
#define CHOOSE(condition, a, b) ((condition) ? (a) : (b))
#define GATE(g, z, activation, negative)                                                          \
    ((z) > 0 ? (g) : (activation) == BN_RELU ? 0 : (g) * (negative))
#endif

#define MULTIPLY_ADD(a, b, c) (EXACT_PRODUCT ? FUSED(a, b, c) : (a) * (b) + (c))

/* ---- coefficients ---- */

ALWAYS_INLINE NAME(vec) NAME(load)(const real *x) { return *(const NAME(vec_anywhere) *)x; }

ALWAYS_INLINE NAME(narrow) NAME(load_narrow)(const real *x)
{
    return *(const NAME(narrow_anywhere) *)x;
}

ALWAYS_INLINE NAME(vec) NAME(splat)(real x) { return x - (NAME(vec)){0}; }

/* ---- data ---- */

/* The first n <= VEC values, zeros after them; nothing beyond x[n - 1] is read. */
ALWAYS_INLINE NAME(packed) NAME(take)(const stored *x, ptrdiff_t n)
{
    if (n == NAME(VEC)) return *(const NAME(packed_anywhere) *)x;
#if BITS >= MASKED_BITS
    return (NAME(packed))JOIN2(LOAD_PART, stored)(x, n);
#else
    stored padded[NAME(VEC)] = {0};
    for (int i = 0; i < NAME(VEC) - 1; i++)
        if (i < n) padded[i] = x[i];
    return *(const NAME(packed_anywhere) *)padded;
#endif
}

ALWAYS_INLINE void NAME(place)(stored *y, NAME(packed) v, ptrdiff_t n)
{
    if (n == NAME(VEC)) {
        *(NAME(packed_anywhere) *)y = v;
        return;
    }
#if BITS >= MASKED_BITS
    JOIN2(STORE_PART, stored)(y, v, n);
#else
    stored padded[NAME(VEC)];
    *(NAME(packed_anywhere) *)padded = v;
    for (int i = 0; i < NAME(VEC) - 1; i++)
        if (i < n) y[i] = padded[i];
#endif
}

ALWAYS_INLINE NAME(vec) NAME(read)(const stored *x, ptrdiff_t n)
{
    return UNPACK(NAME(take)(x, n), whole);
}

ALWAYS_INLINE NAME(narrow) NAME(read_narrow)(const stored *x)
{
    return UNPACK(*(const NAME(packed_narrow) *)x, narrow);
}

ALWAYS_INLINE void NAME(write)(stored *y, NAME(vec) v, ptrdiff_t n) { NAME(place)(y, PACK(v), n); }

ALWAYS_INLINE double NAME(value)(const stored *x)
{
    real first[NAME(VEC)];
    *(NAME(vec_anywhere) *)first = NAME(read)(x, 1);
    return first[0];
}
