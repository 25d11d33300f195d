/* What is computed from a channel's sums: its moments, their merge, and 1 / std. The only place for
   each of them. */
#ifndef BN_MOMENTS_H
#define BN_MOMENTS_H

#include <math.h>

/* Mean and m2 = Σ(x - mean)² of `count` values from Σd and Σd² of d = x - shift. */
static inline void bn_moments(double count, double shift, double sum_d, double sum_dd, double *mean,
                              double *m2)
{
    double distance = sum_d / count, squares = sum_dd - sum_d * distance;
    *mean = shift + distance;
    *m2 = squares < 0 ? 0 : squares;
}

/* Whether Σd² lost no more than ten bits in it, the shift being near enough to the mean. */
static inline int bn_moments_good(double sum_dd, double m2) { return sum_dd <= 1024 * m2; }

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
