/* One instruction set's kernels. Included by isa_*.c with ISA (its name) and FUSED (multiply-add in
   double) defined, inside the compiler's target region. */

#define JOIN3(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN3(a, b, c)

#define real float
#define EXACT_PRODUCT 1
#define NAME(x) JOIN(x, float32, ISA)
#include "kernels_body.h"
static const bn_kernels NAME(table) = TABLE;
#include "kernels_end.h"

#define real double
#define EXACT_PRODUCT 0
#define NAME(x) JOIN(x, float64, ISA)
#include "kernels_body.h"
static const bn_kernels NAME(table) = TABLE;
#include "kernels_end.h"
