#undef real
#undef EXACT_PRODUCT
#undef NAME
#undef ROW
#undef MULTIPLY_ADD
#undef VALUES_OF_LINE
#undef TABLE
