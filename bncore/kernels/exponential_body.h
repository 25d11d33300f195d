/* The exponential function and what is made of it, for one dtype. The loops that call these functions
   become vectors, because no function branches or calls the C library, whose last bits differ between
   systems. The coefficients are weighted least-squares fits, refined until the relative error was
   nearly even; they are below a tenth of the dtype's rounding. */

#if BITS == 32
typedef uint32_t NAME(word);
#define FRACTION_BITS 23
#define EXPONENT_BIAS 127
#define LOWER_HALF 0xfffu               /* the bits of a fraction that the square of the rest does without */
#define ROUNDER ((real)0x1.8p23)        /* adding it rounds to a whole number, in the lowest bits */
#define LN2_HIGH ((real)0x1.62e4p-1)    /* its product with a whole number up to 2^8 is exact */
#define LN2_LOW ((real)0x1.7f7d1cp-20)
#define LOWEST ((real)-104)             /* where exp(x) has become 0 */
#define FARTHEST ((real)15)             /* where the normal distribution's tail has become 0 */
#define EXP_COEFFICIENTS                                                                          \
    {0.5, 0.166666672, 0.0416664667, 0.00833336171, 0.001393363, 0.000198574722}
#define LOG_COEFFICIENTS {2, 0.66666317, 0.400249034, 0.279606998, 0.281778961}
#define TAIL_NUMERATOR {0.5, 0.439266384, 0.183956042, 0.040876586, 0.00415252009}
#define TAIL_DENOMINATOR {1, 1.67641771, 1.20549488, 0.471374035, 0.10246852, 0.0104087126}
#else
typedef uint64_t NAME(word);
#define FRACTION_BITS 52
#define EXPONENT_BIAS 1023
#define LOWER_HALF UINT64_C(0x7ffffff)
#define ROUNDER ((real)0x1.8p52)
#define LN2_HIGH ((real)0x1.62e42fefa3p-1)
#define LN2_LOW ((real)0x1.3de6af278ece6p-42)
#define LOWEST ((real)-746)
#define FARTHEST ((real)40)
#define EXP_COEFFICIENTS                                                                          \
    {0.5, 0.16666666666666671, 0.041666666666666616, 0.0083333333333261463,                       \
     0.0013888888888918221, 0.00019841269874793025, 2.4801587245206935e-05,                       \
     2.755725542237726e-06, 2.7557350055798445e-07, 2.5105211933987421e-08,                       \
     2.0889252931898083e-09}
#define LOG_COEFFICIENTS                                                                          \
    {2, 0.66666666666683017, 0.39999999995181662, 0.28571429121478636, 0.22222190405469483,       \
     0.18182871681654328, 0.1536349441750281, 0.13592926876755432, 0.098729941820292391,          \
     0.17796375135367026}
#define TAIL_NUMERATOR                                                                            \
    {0.5, 0.77548112107456535, 0.59492643001385892, 0.28996157534004302, 0.097981754460371565,    \
     0.023708737017401765, 0.0041076525392240376, 0.00049307032754886213,                         \
     3.7495188098928156e-05, 1.3964382035449343e-06}
#define TAIL_DENOMINATOR                                                                          \
    {1, 2.3488468029519853, 2.5639614597946148, 1.7172065327312152, 0.78381822581583982,          \
     0.25571220985196297, 0.060657934291290551, 0.010390344485244349, 0.0012394443760869467,      \
     9.3986498649405558e-05, 3.5003514847900689e-06}
#endif

/* A polynomial whose coefficients begin with the constant. `count` is a constant at each call. */
ALWAYS_INLINE real NAME(polynomial)(const real *coefficients, const int count, real x)
{
    real sum = coefficients[count - 1];
    UNROLL
    for (int i = count - 2; i >= 0; i--) sum = sum * x + coefficients[i];
    return sum;
}

#define POLYNOMIAL(result, coefficients, x)                                                       \
    do {                                                                                          \
        const real c[] = coefficients;                                                            \
        result = NAME(polynomial)(c, sizeof c / sizeof *c, x);                                    \
    } while (0)

/* ---- exp ---- */

/* 2^n, where `rounded` is n + ROUNDER and 2^n is a normal number. */
ALWAYS_INLINE real NAME(power_of_2)(real rounded)
{
    NAME(word) bits;
    real power;
    memcpy(&bits, &rounded, sizeof bits);
    bits = (bits + EXPONENT_BIAS) << FRACTION_BITS;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* exp(x) = (1 + p) * a * b, where a and b are powers of 2, because the power of 2 nearest to a very small
   exp(x) is no normal number. */
typedef struct {
    real p, a, b;
} NAME(exponential);

/* Of x + tail, for x <= 0 and a much smaller tail. */
ALWAYS_INLINE NAME(exponential) NAME(exponential_of)(real x, real tail)
{
    x = x < LOWEST ? LOWEST : x;
    const real n = (x * (real)1.4426950408889634 + ROUNDER) - ROUNDER;
    const real rounded_half = n * (real)0.5 + ROUNDER, half = rounded_half - ROUNDER;
    const real r = ((x - n * LN2_HIGH) - n * LN2_LOW) + tail;
    real rest;
    POLYNOMIAL(rest, EXP_COEFFICIENTS, r);
    return (NAME(exponential)){r + r * r * rest, NAME(power_of_2)(rounded_half),
                               NAME(power_of_2)((n - half) + ROUNDER)};
}

/* exp(x) for x <= 0 */
ALWAYS_INLINE real NAME(exp)(real x)
{
    const NAME(exponential) e = NAME(exponential_of)(x, 0);
    return (e.a + e.a * e.p) * e.b;
}

/* exp(x) - 1 for x <= 0; near 0 it keeps its digits. */
ALWAYS_INLINE real NAME(expm1)(real x)
{
    const NAME(exponential) e = NAME(exponential_of)(x, 0);
    const real power = e.a * e.b;
    return power * e.p + (power - 1);
}

/* ---- what is made of exp ---- */

/* log(1 + z) for 0 <= z <= 1, as twice the inverse hyperbolic tangent of z / (2 + z). */
ALWAYS_INLINE real NAME(log1p)(real z)
{
    const real s = z / (2 + z);
    real sum;
    POLYNOMIAL(sum, LOG_COEFFICIENTS, s * s);
    return s * sum;
}

ALWAYS_INLINE real NAME(absolute)(real x) { return x < 0 ? -x : x; }

/* log(1 + exp(x)) */
ALWAYS_INLINE real NAME(softplus_of)(real x)
{
    return (x > 0 ? x : 0) + NAME(log1p)(NAME(exp)(-NAME(absolute)(x)));
}

/* The logistic function of x, and of -x; neither is computed as 1 minus the other. */
typedef struct {
    real of_x, of_minus_x;
} NAME(logistic);

ALWAYS_INLINE NAME(logistic) NAME(logistic_of)(real x)
{
    const real z = NAME(exp)(-NAME(absolute)(x));
    const real larger = 1 / (1 + z), smaller = z * larger;
    return (NAME(logistic)){x < 0 ? smaller : larger, x < 0 ? larger : smaller};
}

/* ---- the normal distribution ---- */

/* x between -FARTHEST and FARTHEST, where all that is computed of it is finite. */
ALWAYS_INLINE real NAME(within)(real x, real farthest)
{
    x = x < -farthest ? -farthest : x;
    return x > farthest ? farthest : x;
}

typedef struct {
    real cdf, density;
} NAME(normal);

/* The part of a standard normal distribution below x, (1 + erf(x / sqrt(2))) / 2, and its density, for x
   within FARTHEST. The part beyond |x| is exp(-x^2 / 2) times a function that falls slowly, and which a
   quotient of two polynomials of positive terms gives without cancellation. */
ALWAYS_INLINE NAME(normal) NAME(normal_of)(real x)
{
    const real u = NAME(absolute)(x), square = u * u;
    NAME(word) bits;
    real high, numerator, denominator;
    memcpy(&bits, &u, sizeof bits);
    bits &= ~(NAME(word))LOWER_HALF;
    memcpy(&high, &bits, sizeof high);
    /* What rounding took from the square: a large square would lose digits of its exponential. */
    const real low = u - high, lost = ((high * high - square) + 2 * high * low) + low * low;
    const NAME(exponential) e = NAME(exponential_of)(square * (real)-0.5, lost * (real)-0.5);
    const real falling = (e.a + e.a * e.p) * e.b;
    POLYNOMIAL(numerator, TAIL_NUMERATOR, u);
    POLYNOMIAL(denominator, TAIL_DENOMINATOR, u);
    const real beyond = falling * (numerator / denominator);
    return (NAME(normal)){x < 0 ? beyond : 1 - beyond, falling * (real)0.3989422804014327};
}

#undef POLYNOMIAL
#undef EXP_COEFFICIENTS
#undef LOG_COEFFICIENTS
#undef TAIL_NUMERATOR
#undef TAIL_DENOMINATOR
#undef FRACTION_BITS
#undef EXPONENT_BIAS
#undef LOWER_HALF
#undef ROUNDER
#undef LN2_HIGH
#undef LN2_LOW
