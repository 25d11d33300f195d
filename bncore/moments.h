/* What is computed from moments: their merge, and 1 / std. The only place for either. */
#ifndef BN_MOMENTS_H
#define BN_MOMENTS_H

#include <math.h>

/* Merge (Chan, Golub & LeVeque 1979): (mean, m2) of `count` values takes in those of count_b > 0 more. */
static inline void bn_merge(double count, double *mean, double *m2, double count_b, double mean_b,
                            double m2_b)
{
    if (count == 0) { /* nothing to measure a distance from; a far mean would square to infinity */
        *mean = mean_b;
        *m2 = m2_b;
        return;
    }
    double share = count_b / (count + count_b), delta = mean_b - *mean;
    *mean += delta * share;
    *m2 += m2_b + delta * (count * share) * delta;
}

/* 1 / sqrt(var + eps); 0 for var = eps = 0, as in PyTorch: a constant channel becomes the bias. */
static inline double bn_rstd(double var, double eps)
{
    return var + eps == 0 ? 0 : 1 / sqrt(var + eps);
}

#endif
