/* Vectors of doubles, in which sums are kept. */

#if BN_VECTORS
typedef int64_t wide_mask VECTOR(VECTOR_BYTES);

/* d with zeros after its first n values; all of d if n is larger. */
ALWAYS_INLINE wide keep_first(wide d, ptrdiff_t n)
{
    static const int64_t ones_then_zeros[2 * WIDE] = {[0 ... WIDE - 1] = -1};
    wide_mask mask;
    memcpy(&mask, ones_then_zeros + WIDE - (n < 0 ? 0 : n > WIDE ? WIDE : n), sizeof mask);
    return (wide)((wide_mask)d & mask);
}
#else
ALWAYS_INLINE wide keep_first(wide d, ptrdiff_t n) { return n > 0 ? d : 0; }
#endif

ALWAYS_INLINE wide load_wide(const double *from)
{
    wide v;
    memcpy(&v, from, sizeof v);
    return v;
}

ALWAYS_INLINE void load_wides(wide *v, const double *from, const int count)
{
    UNROLL
    for (int i = 0; i < count; i++) v[i] = load_wide(from + i * WIDE);
}

ALWAYS_INLINE void store_wides(double *to, const wide *v, const int count)
{
    UNROLL
    for (int i = 0; i < count; i++) memcpy(to + i * WIDE, v + i, sizeof *v);
}

/* The sum of all lanes: the second half is added to the first, until one is left. */
ALWAYS_INLINE double add_lanes(wide *v)
{
    double lanes[WIDE];
    UNROLL
    for (int half = LANE_WIDES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) v[i] += v[i + half];
    store_wides(lanes, v, 1);
    UNROLL
    for (int half = WIDE / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}
