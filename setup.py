"""Build `bncore`, the compiled core: C kernels and their binding, with OpenMP where it is."""

import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError, SetupError

OPENMP_PROGRAM = """
#include <omp.h>
int main(void) {
    int n = 0;
#pragma omp parallel for reduction(+ : n)
    for (int i = 0; i < 4; i++) n += omp_get_num_threads();
    return n == 0;
}
"""


def openmp_candidates(compiler_type):
    """(compile flags, link flags) to try, best first."""
    if compiler_type == "msvc":
        return [(["/openmp:llvm"], []), (["/openmp"], [])]
    candidates = [(["-fopenmp"], ["-fopenmp"])]
    if sys.platform == "darwin":
        for prefix in (
            os.environ.get("CONDA_PREFIX"),
            "/opt/homebrew/opt/libomp",
            "/usr/local/opt/libomp",
        ):
            if prefix:
                candidates.append(
                    (
                        ["-Xpreprocessor", "-fopenmp", f"-I{prefix}/include"],
                        [f"-L{prefix}/lib", f"-Wl,-rpath,{prefix}/lib", "-lomp"],
                    )
                )
    return candidates


# Kernels with checks take minutes to compile, hence -O1 and what else is left out. What the
# undefined behaviour sanitizer could tell of bad pointers, the address sanitizer finds too. Threads
# go the same ways with each instruction set. A finding ends the program: no test passes over it.
SANITIZERS = {
    "address,undefined": [
        "-fsanitize=address,undefined",
        "-fno-sanitize=null,object-size,pointer-overflow",
        "-fno-sanitize-recover=all",
    ],
    "thread": ["-fsanitize=thread", "-DBN_BASELINE_ONLY"],
}


def sanitizer_flags():
    """Return the flags, for the compiler and the linker, that BN_SANITIZE asks for."""
    asked = os.environ.get("BN_SANITIZE")
    if not asked:
        return []
    if asked not in SANITIZERS:
        raise SetupError(f"BN_SANITIZE must be {' or '.join(SANITIZERS)}, got {asked!r}")
    return [*SANITIZERS[asked], "-g1", "-fno-omit-frame-pointer", "-DBN_FAILING_ALLOCATIONS"]


def msvc_flags(compiler):
    """Take clang-cl where it is, because MSVC has no vector types; return its flags, or MSVC's."""
    clang = shutil.which("clang-cl")
    if clang is None:
        return ["/O2", "/fp:precise", "/std:c11"]
    compiler.initialize()
    compiler.cc = clang
    exact = ("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
    return ["/std:c11", *(f"/clang:{flag}" for flag in ("-O3", *exact))]


class BuildExt(build_ext):
    """Flags for exact arithmetic, and OpenMP's if a program that uses it compiles and links."""

    def build_extensions(self):
        sanitize = sanitizer_flags()
        compile_flags, link_flags = self.find_openmp()
        if self.compiler.compiler_type == "msvc":
            if sanitize:
                raise SetupError("BN_SANITIZE needs GCC or Clang, got MSVC")
            compile_flags = [*msvc_flags(self.compiler), *compile_flags]
        else:
            exact = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
            # Python's own flags have -g, which spends more than a third of the compile time on
            # inlined variables. -g1 keeps names and line numbers, for backtraces and profilers.
            speed = ["-O1" if sanitize else "-O3", "-g1", *sanitize]
            compile_flags = [*speed, *exact, "-fvisibility=hidden", "-pthread", *compile_flags]
            link_flags = ["-pthread", *sanitize, *link_flags]
        for extension in self.extensions:
            extension.extra_compile_args += compile_flags
            extension.extra_link_args += link_flags
        self.compile_in_parallel()
        super().build_extensions()

    def compile_in_parallel(self):
        """Compile the files side by side; setuptools compiles one after the other."""
        compile_all = self.compiler.compile

        def compile(sources, *args, **options):
            def compile_one(source):
                return compile_all([source], *args, **options)

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return [o for objects in pool.map(compile_one, sources) for o in objects]

        self.compiler.compile = compile

    def find_openmp(self):
        wanted = not os.environ.get("BN_NO_OPENMP")
        for flags in openmp_candidates(self.compiler.compiler_type):
            if wanted and self.links(*flags):
                return flags
        message = "no OpenMP for this compiler: bn is built without it and runs on one thread"
        if os.environ.get("BN_REQUIRE_OPENMP"):
            raise CompileError(message)
        print(f"warning: {message}", file=sys.stderr)
        return [], []

    def links(self, compile_flags, link_flags):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "openmp.c")
            source.write_text(OPENMP_PROGRAM)
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=compile_flags
                )
                self.compiler.link_executable(
                    objects, "openmp", output_dir=folder, extra_postargs=link_flags
                )
            except (CompileError, LinkError):
                return False
        return True


def slowest_first(path):
    """Sort key: what takes longest comes first, so that no core waits at the end."""
    slowest = ["isa_baseline.c", "isa_avx2.c", "isa_avx512.c"]
    return slowest.index(path.name) if path.name in slowest else len(slowest), path


source_root = Path("bncore")
c_files = sorted(source_root.rglob("*.c"), key=slowest_first)
core = Extension(
    "bncore",
    sources=[*map(str, c_files), str(source_root / "bncore.pyx")],
    depends=sorted(str(path) for path in source_root.rglob("*.[hp]*")),
    include_dirs=[str(source_root), np.get_include()],
    define_macros=[
        ("NPY_TARGET_VERSION", "NPY_1_25_API_VERSION"),  # the oldest supported; has NEP 49
        ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
    ],
)

setup(
    # bncore is one extension module. Its folder has no __init__.py: with one, the folder in a
    # checkout would be imported in place of the installed module.
    packages=find_packages("python"),
    package_dir={"bn": "python/bn"},
    package_data={"bn": ["py.typed"]},
    include_package_data=False,
    ext_modules=cythonize([core], build_dir="build/cython"),
    cmdclass={"build_ext": BuildExt},
)
