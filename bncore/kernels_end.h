#undef real
#undef DTYPE
#undef EXACT_PRODUCT
#undef NAME
#undef ROW
#undef MULTIPLY_ADD
#undef CHOOSE
#undef TABLE
