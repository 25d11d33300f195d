/* Vectors of doubles, in which sums are kept. */

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
