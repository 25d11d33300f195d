"""PyTorch's own tests of normalizations: which test here stands for each, and which are left out.

`RUN` has, for each of PyTorch's files, its tests and ours; `EXCLUDED` the others with the reason.
PyTorch's package contains the databases behind its tests (``torch.testing._internal``), but not the
files with the tests; the names are those in its repository, near release 2.13.
`test_torch_exclusions.py` checks that our tests are there, and that no
layer or operator of the databases is missing.
"""

# ---- layers and operators in PyTorch's databases ----

LAYERS = {"BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "LayerNorm"}

EXCLUDED_LAYERS = {
    "InstanceNorm1d": "bn.torch has no instance normalization",
    "InstanceNorm2d": "bn.torch has no instance normalization",
    "InstanceNorm3d": "bn.torch has no instance normalization",
    "LocalResponseNorm": "bn has no local response normalization",
    "RMSNorm": "bn.torch has no RMS normalization",
}

OPERATORS = {
    "_batch_norm_with_update",
    "_native_batch_norm_legit",
    "native_batch_norm",
    "native_group_norm",
    "native_layer_norm",
    "nn.functional.batch_norm",
    "nn.functional.group_norm",
    "nn.functional.layer_norm",
}

EXCLUDED_OPERATORS = {
    "nn.functional.batch_norm without_cudnn": "it is for CUDA",
    "nn.functional.instance_norm": "bn.torch has no instance normalization",
    "nn.functional.local_response_norm": "bn has no local response normalization",
    "nn.functional.rms_norm": "bn.torch has no RMS normalization",
}

# ---- tests ----

FILES = {
    "test_modules.py": "test_torch_own_modules",
    "test_nn.py": "test_torch_own_nn",
    "test_ops.py": "test_torch_own_operators",
}

RUN = {
    "test_modules.py": {
        "test_device_ctx_init": "test_a_layer_made_on_meta_is_like_one_on_the_cpu",
        "test_errors": "test_what_pytorch_refuses_is_refused_in_its_words",
        "test_factory_kwargs": (
            "test_parameters_and_buffers_have_the_dtype_and_device_that_were_asked_for"
        ),
        "test_forward": "test_outputs_and_running_statistics_are_pytorchs",
        "test_grad": "test_gradients_of_both_orders_are_those_of_differences",
        "test_gradgrad": "test_gradients_of_both_orders_are_those_of_differences",
        "test_if_train_and_eval_modes_differ": "test_the_mode_is_asked_for_only_where_it_matters",
        "test_memory_format": ("test_outputs_and_gradients_have_the_memory_format_of_the_input"),
        "test_non_contiguous_tensors": "test_tensors_with_gaps_give_the_same_results",
        "test_pickle": "test_a_layer_from_a_file_gives_the_same_output",
        "test_repr": "test_the_repr_is_that_of_pytorchs_layer",
        "test_save_load": "test_a_state_from_a_file_gives_the_same_output",
        "test_to": "test_a_layer_moved_to_another_dtype_computes",
        "test_to_empty": "test_a_layer_moved_from_meta_takes_a_state",
    },
    "test_nn.py": {
        "test_BatchNorm_empty": (
            "test_an_empty_batch_has_gradients_of_0_and_changes_no_statistics"
        ),
        "test_GroupNorm_empty": "test_group_norm_of_an_empty_batch_has_gradients_of_0",
        "test_GroupNorm_general": "test_group_norm_gives_mean_0_and_variance_1_then_scales",
        "test_GroupNorm_general, several dtypes": (
            "test_group_norm_of_half_precision_is_that_of_float32"
        ),
        "test_GroupNorm_general, errors": (
            "test_group_norm_refuses_groups_that_do_not_divide_the_channels"
        ),
        "test_GroupNorm_memory_format": "test_group_norm_keeps_channels_last_and_its_results",
        "test_GroupNorm_numeric": "test_group_norm_agrees_with_its_formula_on_large_groups",
        "test_GroupNorm_raises_error_if_one_value_per_group": (
            "test_group_norm_refuses_one_value_per_group"
        ),
        "test_LayerNorm_3d_no_affine_large_feature": (
            "test_pytorchs_own_test_of_a_large_layer_normalization_passes"
        ),
        "test_LayerNorm_3d_no_affine_large_feature_eval": (
            "test_pytorchs_own_test_of_a_large_layer_normalization_passes"
        ),
        "test_LayerNorm_general": "test_layer_norm_gives_mean_0_and_variance_1_then_scales",
        "test_LayerNorm_general, several dtypes": (
            "test_layer_norm_of_half_precision_is_that_of_float32"
        ),
        "test_LayerNorm_general, errors": "test_layer_norm_refuses_an_input_of_another_shape",
        "test_LayerNorm_numeric": "test_layer_norm_agrees_with_its_formula_on_long_rows",
        "test_batchnorm_affine": "test_weights_of_1_and_biases_of_0_change_nothing",
        "test_batchnorm_affine_mixed": "test_weights_of_1_and_biases_of_0_change_nothing",
        "test_batchnorm_buffer_update_when_stats_are_not_tracked": (
            "test_statistics_that_are_not_tracked_stay"
        ),
        "test_batchnorm_eval": "test_in_eval_mode_two_calls_are_the_same",
        "test_batchnorm_eval, no statistics": (
            "test_without_running_statistics_both_modes_are_the_same"
        ),
        "test_batchnorm_eval_mixed": "test_in_eval_mode_two_calls_are_the_same",
        "test_batchnorm_grad": ("test_gradients_with_shares_and_offsets_are_those_of_differences"),
        "test_batchnorm_half_overflow": "test_sums_beyond_float16_do_not_overflow",
        "test_batchnorm_large_batch": "test_a_batch_of_many_single_values_is_normalized",
        "test_batchnorm_load_state_dict": (
            "test_the_number_of_batches_survives_a_state_without_it"
        ),
        "test_batchnorm_nhwc_cpu": "test_channels_last_in_memory_change_no_result",
        "test_batchnorm_non_contig_cpu": "test_a_permuted_input_gives_a_permuted_output",
        "test_batchnorm_raises_error_if_bias_is_not_same_size_as_input": (
            "test_vectors_of_another_length_are_refused"
        ),
        "test_batchnorm_raises_error_if_less_than_one_value_per_channel": (
            "test_one_value_per_channel_is_refused"
        ),
        "test_batchnorm_raises_error_if_running_mean_is_not_same_size_as_input": (
            "test_vectors_of_another_length_are_refused"
        ),
        "test_batchnorm_raises_error_if_running_var_is_not_same_size_as_input": (
            "test_vectors_of_another_length_are_refused"
        ),
        "test_batchnorm_raises_error_if_running_var_or_running_mean_have_forward_grad": (
            "test_running_statistics_with_derivatives_in_forward_mode_are_refused"
        ),
        "test_batchnorm_raises_error_if_weight_is_not_same_size_as_input": (
            "test_vectors_of_another_length_are_refused"
        ),
        "test_batchnorm_simple_average": "test_without_a_momentum_running_statistics_are_means",
        "test_batchnorm_simple_average_mixed": (
            "test_without_a_momentum_running_statistics_are_means"
        ),
        "test_convert_sync_batchnorm": (
            "test_convert_sync_batchnorm_keeps_other_layers_and_the_state"
        ),
        "test_fuse_conv_bn_requires_grad": "test_folded_parameters_have_gradients_as_before",
        "test_fuse_linear_bn_requires_grad": "test_folded_parameters_have_gradients_as_before",
        "test_fuse_module_eval_numerics": "test_pytorchs_folding_takes_our_layers",
        "test_groupnorm_nhwc": "test_group_norm_keeps_channels_last_and_its_results",
        "test_layer_norm_backwards_eps": "test_layer_norm_has_pytorchs_gradients_for_all_sizes",
        "test_layer_norm_eps": "test_layer_norm_of_equal_values_is_0",
        "test_layer_norm_grads_with_create_graph_flag": (
            "test_layer_norm_has_the_same_gradient_with_and_without_a_graph_of_it"
        ),
        "test_layernorm_half_precision": "test_layer_norm_of_half_precision_is_that_of_float32",
        "test_layernorm_weight_bias": "test_layer_norm_takes_a_weight_or_a_bias_alone",
    },
    "test_ops.py": {
        "TestCommon.test_dtypes": "test_results_and_gradients_are_those_of_the_operator",
        "TestCommon.test_errors": "test_what_pytorch_refuses_is_refused_in_its_words",
        "TestCommon.test_noncontiguous_samples": "test_tensors_with_gaps_give_the_same_results",
        "TestCommon.test_numpy_ref": ("test_results_are_those_of_pytorchs_reference_in_numpy"),
        "TestCommon.test_variant_consistency_eager": (
            "test_results_and_gradients_are_those_of_the_operator"
        ),
        "TestCompositeCompliance.test_backward": "test_subclasses_of_tensors_are_pytorchs",
        "TestCompositeCompliance.test_cow_input": "test_lazy_copies_share_no_change",
        "TestCompositeCompliance.test_operator": "test_subclasses_of_tensors_are_pytorchs",
        "TestFakeTensor.test_fake": ("test_fake_tensors_have_the_shapes_and_strides_of_results"),
        "TestFakeTensor.test_fake_autocast": "test_autocast_gives_the_dtypes_of_pytorch",
        "TestFakeTensor.test_fake_crossref_backward_no_amp": (
            "test_gradients_agree_with_those_of_fake_tensors"
        ),
        "TestMathBits.test_neg_view": "test_negated_views_are_taken_for_what_they_are",
        "test_ops_gradients.py, test_fn_grad": "test_gradients_are_those_of_differences",
        "test_ops_gradients.py, test_fn_gradgrad": (
            "test_gradients_of_second_order_are_those_of_differences"
        ),
        "test_ops_fwd_gradients.py, test_forward_mode_AD": (
            "test_derivatives_in_forward_mode_are_those_of_differences"
        ),
        "test_ops_fwd_gradients.py, test_fn_fwgrad_bwgrad": (
            "test_derivatives_in_forward_mode_of_gradients_are_those_of_differences"
        ),
        "test_ops_jit.py, test_variant_consistency_jit": (
            "test_a_trace_computes_with_other_inputs"
        ),
        "functorch/test_vmap.py, test_vmap_exhaustive": (
            "test_vectorized_calls_are_those_of_each_sample"
        ),
        "test_expanded_weights.py, test_expanded_weight_per_sample_grad_sum": (
            "test_gradients_of_single_samples_are_those_of_their_own_calls"
        ),
        "torch.library.opcheck, test_schema and test_faketensor": (
            "test_our_operators_keep_what_their_schemas_and_fakes_promise"
        ),
        "torch.library.opcheck, test_aot_dispatch_dynamic": (
            "test_our_operators_are_compiled_for_all_shapes"
        ),
    },
}

CUDA = "it is for CUDA"
NO_OUT = "the functions have no argument out"
NO_INPLACE = "there is no normalization in place"
REAL = "the functions take real floating-point numbers, as PyTorch's do"

EXCLUDED = {
    "test_modules.py": {
        "test_check_inplace": NO_INPLACE,
        "test_cpu_gpu_parity": CUDA,
        "test_multiple_device_transfer": CUDA,
        "test_aotdispatch.py, test_aot_autograd_module_exhaustive": (
            "test_torch_compile.py compares the layers under all backends that need no C++ compiler"
        ),
    },
    "test_nn.py": {
        "test_batch_norm_update_stats": (
            "it tests torch.batch_norm_update_stats, for which bn.torch has no function"
        ),
        "test_batchnorm": CUDA,
        "test_batchnorm_cudnn_half": CUDA,
        "test_batchnorm_cudnn_nhwc": CUDA,
        "test_batchnorm_nhwc_cuda": CUDA,
        "test_batchnorm_nonaffine_cuda_half_input": CUDA,
        "test_layer_norm_large_tensor": f"{CUDA}, and needs 40 GB",
        "test_sync_batchnorm_accuracy_cuda": CUDA,
        "test_sync_batchnorm_backward_elemt": CUDA,
    },
    "test_ops.py": {
        "TestCommon.test_compare_cpu": "it compares other devices with the CPU",
        "TestCommon.test_complex_half_reference_testing": REAL,
        "TestCommon.test_errors_sparse": "PyTorch has no sparse arguments of normalizations",
        "TestCommon.test_multiple_devices": CUDA,
        "TestCommon.test_non_standard_bool_values": REAL,
        "TestCommon.test_out": NO_OUT,
        "TestCommon.test_out_integral_dtype": NO_OUT,
        "TestCommon.test_out_requires_grad_error": NO_OUT,
        "TestCommon.test_out_warning": NO_OUT,
        "TestCommon.test_promotes_int_to_float": REAL,
        "TestCommon.test_python_ref": "it tests PyTorch's own references in Python",
        "TestCompositeCompliance.test_cow_input, memory": (
            "NumPy cannot share the memory of a lazy copy, so a call copies it; values are right"
        ),
        "TestCompositeCompliance.test_forward_ad": (
            "in forward mode the functions are PyTorch's, which tests them"
        ),
        "TestCompositeCompliance.test_view_replay": "the functions return no views",
        "TestFakeTensor.test_fake_crossref_backward_amp": (
            "PyTorch's comparison is of its own operators, which the functions call there"
        ),
        "TestFakeTensor.test_strided_layout": "it tests views and copies",
        "TestMathBits.test_conj_view": REAL,
        "TestMathBits.test_neg_conj_view": REAL,
        "TestTags.test_tags": "it tests the tags of PyTorch's own operators",
        "test_ops_gradients.py, test_fn_fail_gradgrad": "the functions have a second order",
        "test_ops_gradients.py, test_inplace_grad": NO_INPLACE,
        "test_ops_gradients.py, test_inplace_gradgrad": NO_INPLACE,
        "test_ops_fwd_gradients.py, test_inplace_forward_mode_AD": NO_INPLACE,
        "test_ops_jit.py, torch.jit.script": (
            "torch.jit.script, which PyTorch has deprecated, compiles no calls of other libraries; "
            "bn.torch.restore gives back layers that it takes"
        ),
        "test_mkldnn.py, test_batch_norm_2d and 3d": (
            "tensors in MKL-DNN's layout are PyTorch's: the core takes strided ones"
        ),
        "quantization/core/test_quantized_op.py, test_batch_norm": (
            "quantized tensors are PyTorch's"
        ),
        "test_matmul_cuda.py and others, float8": "PyTorch has no normalization of float8",
        "torch.library.opcheck, test_autograd_registration": (
            "the operators have no gradients by themselves: the functions around them have"
        ),
    },
}
