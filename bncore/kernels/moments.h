/* From a channel's sums to its moments, their merge, and rstd = 1 / std; no other file computes them. */
#ifndef BN_MOMENTS_H
#define BN_MOMENTS_H

#include <float.h>
#include <math.h>

/* Mean and m2 = Σ(x - mean)² of `count` values from Σd and Σd² of d = x - guess. */
static inline void bn_moments(double count, double guess, double sum_d, double sum_dd, double *mean,
                              double *m2)
{
    double distance = sum_d / count, squares = sum_dd - sum_d * distance;
    *mean = guess + distance;
    *m2 = squares < 0 ? 0 : squares;
}

/* m2 of values that differ, however little: where squares vanish, the variance is the smallest number above
   0, which any eps hides. 0 would stand for equal values. */
static inline double bn_m2_of_different(double count, double m2)
{
    if (m2 > 0x1p-960) return m2; /* far above: arithmetic on subnormal numbers takes long */
    const double smallest = count * 0x1p-1074;
    return m2 < smallest ? smallest : m2;
}

/* Whether m2 has the digits of Σd², but for a bit or two: that is so where the guess is near the mean. */
static inline int bn_moments_good(double sum_dd, double m2) { return sum_dd <= 3 * m2; }

/* Merge the moments of count_b > 0 more values into those of `count` values (Chan, Golub & LeVeque
   1979). */
static inline void bn_merge(double count, double *mean, double *m2, double count_b, double mean_b,
                            double m2_b)
{
    if (count == 0) { /* the formula below would square the distance from 0, which may overflow */
        *mean = mean_b;
        *m2 = m2_b;
        return;
    }
    double share = count_b / (count + count_b), delta = mean_b - *mean;
    *mean += delta * share;
    *m2 += m2_b + delta * (count * share) * delta;
    if (*m2 > 0 || delta != 0) *m2 = bn_m2_of_different(count + count_b, *m2);
}

/* 1 / sqrt(var + eps); 0 for var = eps = 0, as in PyTorch, so that a constant channel becomes the bias.
   NaN where var + eps is not a normal number, since squares have vanished or become infinite: 0 or a number
   without its digits would be taken for a result. */
static inline double bn_rstd(double var, double eps)
{
    const double v = var + eps;
    return v == 0 ? 0 : v >= DBL_MIN && v <= DBL_MAX ? 1 / sqrt(v) : NAN;
}

#endif
