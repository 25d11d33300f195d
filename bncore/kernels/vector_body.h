/* One dtype's vectors: `vec` and `narrow` of reals (whole and narrow ones), `packed` of the data; loads
   and stores, of the first values of a vector too. */

#if BN_VECTORS
enum { NAME(VEC) = VECTOR_BYTES / sizeof(real) }; /* values in a vec */
#else
enum { NAME(VEC) = 1 };
#endif
typedef real NAME(vec) VECTOR(VECTOR_BYTES);
typedef real NAME(vec_unaligned) UNALIGNED(VECTOR_BYTES, real);
typedef real NAME(narrow) VECTOR(WIDE * sizeof(real));
typedef real NAME(narrow_unaligned) UNALIGNED(WIDE * sizeof(real), real);
typedef stored NAME(packed) VECTOR(NAME(VEC) * sizeof(stored));
typedef stored NAME(packed_unaligned) UNALIGNED(NAME(VEC) * sizeof(stored), stored);
typedef stored NAME(packed_narrow_unaligned) UNALIGNED(WIDE * sizeof(stored), stored);

/* ---- doubles ---- */

ALWAYS_INLINE wide NAME(widen)(NAME(narrow) x)
{
#if EXACT_PRODUCT
    return to_double(x);
#else
    return x;
#endif
}

ALWAYS_INLINE wide NAME(multiply_add)(wide a, wide b, wide c)
{
    return EXACT_PRODUCT ? multiply_add(a, b, c) : a * b + c;
}

/* ---- reals ---- */

ALWAYS_INLINE NAME(vec) NAME(load)(const real *x) { return *(const NAME(vec_unaligned) *)x; }

ALWAYS_INLINE NAME(narrow) NAME(load_narrow)(const real *x)
{
    return *(const NAME(narrow_unaligned) *)x;
}

ALWAYS_INLINE NAME(vec) NAME(splat)(real x) { return x - (NAME(vec)){0}; }

/* g * activation'(z) */
ALWAYS_INLINE NAME(vec) NAME(gate)(NAME(vec) g, NAME(vec) z, bn_activation activation, real slope)
{
    return SELECT(z > 0, g, activation == BN_RELU ? (NAME(vec)){0} : g * slope);
}

ALWAYS_INLINE NAME(narrow) NAME(gate_narrow)(NAME(narrow) g, NAME(narrow) z,
                                             bn_activation activation, real slope)
{
    return SELECT(z > 0, g, activation == BN_RELU ? (NAME(narrow)){0} : g * slope);
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
    return UNPACK(NAME(load_packed)(x, n), whole);
}

ALWAYS_INLINE void NAME(write)(stored *y, NAME(vec) v, ptrdiff_t n)
{
    NAME(store_packed)(y, PACK(v), n);
}

ALWAYS_INLINE NAME(narrow) NAME(read_narrow)(const stored *x)
{
    return UNPACK(*(const NAME(packed_narrow_unaligned) *)x, narrow);
}

ALWAYS_INLINE double NAME(read_value)(const stored *x)
{
    real first[NAME(VEC)];
    *(NAME(vec_unaligned) *)first = NAME(read)(x, 1);
    return first[0];
}
