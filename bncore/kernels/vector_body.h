/* One dtype's vectors: `vec` of reals and `packed` of the data; `narrow`, the part of a vec that becomes a
   vector of doubles; loads and stores, of the first values of a vector too. */

#if BN_VECTORS
enum { NAME(VEC) = VECTOR_BYTES / sizeof(real) }; /* values in a vec */
#else
enum { NAME(VEC) = 1 };
#endif
typedef real NAME(vec) VECTOR(VECTOR_BYTES);
typedef real NAME(vec_unaligned) UNALIGNED_VECTOR(VECTOR_BYTES, real);
typedef real NAME(narrow) VECTOR(WIDE * sizeof(real));
typedef stored NAME(packed) VECTOR(NAME(VEC) * sizeof(stored));
typedef stored NAME(packed_unaligned) UNALIGNED_VECTOR(NAME(VEC) * sizeof(stored), stored);

/* ---- doubles ---- */

ALWAYS_INLINE wide NAME(widen)(NAME(narrow) x)
{
#if BITS == 64
    return x;
#else
    return to_double(x);
#endif
}

/* ---- reals ---- */

ALWAYS_INLINE NAME(vec) NAME(load)(const real *x) { return *(const NAME(vec_unaligned) *)x; }

ALWAYS_INLINE NAME(vec) NAME(splat)(real x) { return x - (NAME(vec)){0}; }

/* v, whose values are finite, with zeros after the first n. */
ALWAYS_INLINE NAME(vec) NAME(keep_first)(NAME(vec) v, ptrdiff_t n)
{
    static const real ones_then_zeros[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return v * NAME(load)(ones_then_zeros + 16 - n);
}

/* activation(z), where `slope` is that of the leaky ReLU below 0. NaN stays NaN. With conditions in the
   place of the switch, GCC 12 has an internal error where the activation is no constant. */
ALWAYS_INLINE NAME(vec) NAME(activated)(NAME(vec) z, bn_activation activation, real slope)
{
    switch (activation) {
    case BN_NO_ACTIVATION: return z;
    case BN_RELU: return ZERO_WHERE(z < 0, z);
    case BN_LEAKY_RELU: return SELECT(z < 0, z * slope, z);
    case BN_RELU6: return SELECT(z > 6, NAME(splat)(6), ZERO_WHERE(z < 0, z));
    }
    return z;
}

/* g * activation'(z), where z may be activation(z) as well. Where z is NaN, the gradient passes a ReLU, as
   in PyTorch. */
ALWAYS_INLINE NAME(vec) NAME(gate)(NAME(vec) g, NAME(vec) z, bn_activation activation, real slope)
{
    if (activation == BN_LEAKY_RELU) return SELECT(z > 0, g, g * slope);
    if (activation == BN_RELU6) return ZERO_WHERE((z <= 0) | (z >= 6), g);
    return ZERO_WHERE(z <= 0, g);
}

/* ---- data ---- */

/* The first n <= VEC values, then zeros; nothing beyond x[n - 1] is read. */
ALWAYS_INLINE NAME(packed) NAME(load_packed)(const stored *x, ptrdiff_t n)
{
    if (n == NAME(VEC)) return *(const NAME(packed_unaligned) *)x;
#if BITS >= MASKED_BITS
    return JOIN2(load_first, stored)(x, n);
#else
    stored padded[NAME(VEC)] = {0};
    for (int i = 0; i < NAME(VEC) - 1; i++)
        if (i < n) padded[i] = x[i];
    return *(const NAME(packed_unaligned) *)padded;
#endif
}

/* Store the first n <= VEC values; nothing beyond y[n - 1] is written. */
ALWAYS_INLINE void NAME(store_packed)(stored *y, NAME(packed) v, ptrdiff_t n)
{
    if (n == NAME(VEC)) {
        *(NAME(packed_unaligned) *)y = v;
        return;
    }
#if BITS >= MASKED_BITS
    JOIN2(store_first, stored)(y, v, n);
#else
    stored padded[NAME(VEC)];
    *(NAME(packed_unaligned) *)padded = v;
    for (int i = 0; i < NAME(VEC) - 1; i++)
        if (i < n) y[i] = padded[i];
#endif
}

/* The same as reals. */
ALWAYS_INLINE NAME(vec) NAME(read)(const stored *x, ptrdiff_t n)
{
    return UNPACK(NAME(load_packed)(x, n));
}

ALWAYS_INLINE void NAME(write)(stored *y, NAME(vec) v, ptrdiff_t n)
{
    NAME(store_packed)(y, PACK(v), n);
}
