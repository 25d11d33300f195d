#undef real
#undef EXACT_PRODUCT
#undef NAME
#undef ROW
#undef MULTIPLY_ADD
#undef TABLE
