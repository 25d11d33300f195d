/* The exponential function and what is made of it, for vectors of one dtype. Nothing here calls the C
   library, whose last bits differ between systems. NaN stays NaN. The coefficients are weighted
   least-squares fits, refined until the relative error was nearly even; they are below a tenth of the
   dtype's rounding. */

#if BITS == 32
typedef uint32_t NAME(word);
#define SIGN_BIT UINT32_C(0x80000000)
#define FRACTION_BITS 23
#define EXPONENT_BIAS 127
#define LOWER_HALF 0xfffu               /* the bits of a fraction that the square of the rest does without */
#define ROUNDER ((real)0x1.8p23)        /* adding it rounds to a whole number, in the lowest bits */
#define LN2_HIGH ((real)0x1.62e4p-1)    /* its product with a whole number up to 2^8 is exact */
#define LN2_LOW ((real)0x1.7f7d1cp-20)
enum { NAME(LOWEST) = -104 };           /* where exp(x) has become 0 */
enum { NAME(FARTHEST) = 15 };           /* where the normal distribution's tail has become 0 */
#define EXP_COEFFICIENTS                                                                          \
    {0.5, 0.166666672, 0.0416664667, 0.00833336171, 0.001393363, 0.000198574722}
#define LOG_COEFFICIENTS {2, 0.66666317, 0.400249034, 0.279606998, 0.281778961}
#define TAIL_NUMERATOR {0.5, 0.439266384, 0.183956042, 0.040876586, 0.00415252009}
#define TAIL_DENOMINATOR {1, 1.67641771, 1.20549488, 0.471374035, 0.10246852, 0.0104087126}
#else
typedef uint64_t NAME(word);
#define SIGN_BIT UINT64_C(0x8000000000000000)
#define FRACTION_BITS 52
#define EXPONENT_BIAS 1023
#define LOWER_HALF UINT64_C(0x7ffffff)
#define ROUNDER ((real)0x1.8p52)
#define LN2_HIGH ((real)0x1.62e42fefa3p-1)
#define LN2_LOW ((real)0x1.3de6af278ece6p-42)
enum { NAME(LOWEST) = -746 };
enum { NAME(FARTHEST) = 40 };
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

typedef NAME(word) NAME(bits) VECTOR(VECTOR_BYTES);

/* x, with those bits cleared that are set in `cleared`. */
ALWAYS_INLINE NAME(vec) NAME(clear_bits)(NAME(vec) x, NAME(word) cleared)
{
    NAME(bits) bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= ~cleared;
    memcpy(&x, &bits, sizeof bits);
    return x;
}

ALWAYS_INLINE NAME(vec) NAME(absolute)(NAME(vec) x) { return NAME(clear_bits)(x, SIGN_BIT); }

ALWAYS_INLINE NAME(vec) NAME(at_least)(NAME(vec) x, real lowest)
{
    return SELECT(x < lowest, NAME(splat)(lowest), x);
}

ALWAYS_INLINE NAME(vec) NAME(at_most)(NAME(vec) x, real highest)
{
    return SELECT(x > highest, NAME(splat)(highest), x);
}

/* A polynomial whose coefficients begin with the constant. `count` is a constant at each call. */
ALWAYS_INLINE NAME(vec) NAME(polynomial)(const real *coefficients, const int count, NAME(vec) x)
{
    NAME(vec) sum = NAME(splat)(coefficients[count - 1]);
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

/* 2^n for the whole number n in the lowest bits of `n`, if 2^n is a normal number. The other bits are
   shifted out. */
ALWAYS_INLINE NAME(vec) NAME(power_of_2)(NAME(bits) n)
{
    NAME(vec) power;
    n = (n + (NAME(word))EXPONENT_BIAS) << FRACTION_BITS;
    memcpy(&power, &n, sizeof n);
    return power;
}

/* exp(x) = (1 + p) * a * b, where a and b are powers of 2, because the power of 2 nearest to a very small
   exp(x) is no normal number. */
typedef struct {
    NAME(vec) p, a, b;
} NAME(exponential);

/* For x <= 0, to which a much smaller tail is added unless it is NULL. */
ALWAYS_INLINE NAME(exponential) NAME(exponential_of)(NAME(vec) x, const NAME(vec) *tail)
{
    x = NAME(at_least)(x, NAME(LOWEST));
    const NAME(vec) rounded = x * (real)1.4426950408889634 + ROUNDER, n = rounded - ROUNDER;
    NAME(vec) rest, r = (x - n * LN2_HIGH) - n * LN2_LOW;
    if (tail) r += *tail;
    POLYNOMIAL(rest, EXP_COEFFICIENTS, r);
    NAME(bits) bits; /* the lowest ones are n, and a shift halves it */
    memcpy(&bits, &rounded, sizeof bits);
    return (NAME(exponential)){r + r * r * rest, NAME(power_of_2)(bits >> 1),
                               NAME(power_of_2)(bits - (bits >> 1))};
}

/* exp(x) for x <= 0 */
ALWAYS_INLINE NAME(vec) NAME(exp)(NAME(vec) x)
{
    const NAME(exponential) e = NAME(exponential_of)(x, NULL);
    return (e.a + e.a * e.p) * e.b;
}

/* exp(x) - 1 for x <= 0; near 0 it keeps its digits. */
ALWAYS_INLINE NAME(vec) NAME(expm1)(NAME(vec) x)
{
    const NAME(exponential) e = NAME(exponential_of)(x, NULL);
    const NAME(vec) power = e.a * e.b;
    return power * e.p + (power - 1);
}

/* ---- what is made of exp ---- */

/* log(1 + z) for 0 <= z <= 1, as twice the inverse hyperbolic tangent of z / (2 + z). */
ALWAYS_INLINE NAME(vec) NAME(log1p)(NAME(vec) z)
{
    const NAME(vec) s = z / (2 + z);
    NAME(vec) sum;
    POLYNOMIAL(sum, LOG_COEFFICIENTS, s * s);
    return s * sum;
}

/* log(1 + exp(x)) */
ALWAYS_INLINE NAME(vec) NAME(softplus_of)(NAME(vec) x)
{
    return NAME(at_least)(x, 0) + NAME(log1p)(NAME(exp)(-NAME(absolute)(x)));
}

/* The logistic function of x, and of -x; neither is computed as 1 minus the other. */
typedef struct {
    NAME(vec) of_x, of_minus_x;
} NAME(logistic);

ALWAYS_INLINE NAME(logistic) NAME(logistic_of)(NAME(vec) x)
{
    const NAME(vec) z = NAME(exp)(-NAME(absolute)(x));
    const NAME(vec) larger = 1 / (1 + z), smaller = z * larger;
    return (NAME(logistic)){SELECT(x < 0, smaller, larger), SELECT(x < 0, larger, smaller)};
}

/* tanh(x) is u / (2 + u) with the sign of x, where u = exp(-2|x|) - 1 has all its digits if x is small. */
ALWAYS_INLINE NAME(vec) NAME(tanh)(NAME(vec) x)
{
    const NAME(vec) u = NAME(expm1)(-2 * NAME(absolute)(x)), t = u / (2 + u);
    return SELECT(x > 0, -t, t);
}

/* ---- the normal distribution ---- */

/* x between -farthest and farthest, where all that is computed of it is finite. */
ALWAYS_INLINE NAME(vec) NAME(within)(NAME(vec) x, real farthest)
{
    return NAME(at_most)(NAME(at_least)(x, -farthest), farthest);
}

typedef struct {
    NAME(vec) cdf, density;
} NAME(normal);

/* The part of a standard normal distribution below x, (1 + erf(x / sqrt(2))) / 2, and its density, for x
   within FARTHEST. The part beyond |x| is exp(-x^2 / 2) times a function that falls slowly, and which a
   quotient of two polynomials of positive terms gives without cancellation. */
ALWAYS_INLINE NAME(normal) NAME(normal_of)(NAME(vec) x)
{
    const NAME(vec) u = NAME(absolute)(x), square = u * u, high = NAME(clear_bits)(u, LOWER_HALF);
    /* What rounding took from the square: a large square would lose digits of its exponential. */
    const NAME(vec) low = u - high, lost = ((high * high - square) + 2 * high * low) + low * low;
    const NAME(vec) tail = lost * (real)-0.5;
    const NAME(exponential) e = NAME(exponential_of)(square * (real)-0.5, &tail);
    const NAME(vec) falling = (e.a + e.a * e.p) * e.b;
    NAME(vec) numerator, denominator;
    POLYNOMIAL(numerator, TAIL_NUMERATOR, u);
    POLYNOMIAL(denominator, TAIL_DENOMINATOR, u);
    const NAME(vec) beyond = falling * (numerator / denominator);
    return (NAME(normal)){SELECT(x < 0, beyond, 1 - beyond), falling * (real)0.3989422804014327};
}

#undef POLYNOMIAL
#undef EXP_COEFFICIENTS
#undef LOG_COEFFICIENTS
#undef TAIL_NUMERATOR
#undef TAIL_DENOMINATOR
#undef SIGN_BIT
#undef FRACTION_BITS
#undef EXPONENT_BIAS
#undef LOWER_HALF
#undef ROUNDER
#undef LN2_HIGH
#undef LN2_LOW
