"""`python -m bn` lists its commands, tells facts, and says in one sentence what goes wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
from cli_files import environment, run_bn, run_python

import bn
from bn.cli import COMMANDS, info, main


def fails(capsys, argv, sentence):
    assert main([str(word) for word in argv]) == 1
    assert capsys.readouterr().err == sentence + "\n"


def misused(capsys, argv, message):
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    output = capsys.readouterr()
    assert message in output.err and output.out == "" and output.err.count("\n") == 1


def test_without_a_command_the_commands_are_listed_one_to_a_line():
    done = run_bn()
    assert done.returncode == 0 and done.stderr == ""
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"    {name} ")]
        assert line.endswith(command.SUMMARY) and len(line) <= 80


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"bn {bn.show_config()['version']}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["paint"], "invalid choice: 'paint'"),
        (["train", "--model", "vgg"], "argument --model: invalid choice: 'vgg'"),
        (["train", "--epochs", "0"], "--epochs: must be a whole number of at least 1, got '0'"),
        (["train", "--batch-size", "1"], "must be a whole number of at least 2, got '1'"),
        (["train", "--threads", "two"], "must be a whole number from 1 to 1024, got 'two'"),
        (["train", "--threads", "1025"], "must be a whole number from 1 to 1024, got '1025'"),
        (["train", "--threads", "99999999999"], "argument --threads: must be a whole number from"),
        (["train", "--seed", "-1"], "argument --seed: "),
        (["train", "--lr", "fast"], "argument --lr: must be a number above 0, got 'fast'"),
        (["train", "--lr", "nan"], "argument --lr: must be a number above 0, got 'nan'"),
        (["predict", "model.npz"], "the following arguments are required: image.png"),
        (["trian"], "; did you mean train?"),
        (["train", "--epocs", "3"], "there is no option --epocs; did you mean --epochs?"),
        (["train", "--epoch=3"], "there is no option --epoch; did you mean --epochs?"),
        (["train", "--zzz"], "there is no option --zzz ("),
        (["train", "images"], "unexpected argument 'images'"),
        (["--verson"], "there is no option --verson; did you mean --version?"),
        (["train", "--model", "resnett"], "; did you mean resnet?"),
    ],
)
def test_errors_of_use_go_to_stderr_with_exit_code_2(capsys, argv, message):
    misused(capsys, argv, message)


def test_an_error_of_use_does_not_command_the_terminal(capsys):
    misused(capsys, ["train", "--\x1b[31m"], "there is no option --\\x1b[31m")


@pytest.mark.parametrize(
    ("called", "name"),
    [("/usr/bin/bn", "bn"), ("Scripts/bn.exe", "bn"), ("bn/__main__.py", "python -m bn")],
)
def test_the_command_calls_itself_as_it_was_called(capsys, monkeypatch, called, name):
    monkeypatch.setattr(sys, "argv", [called])
    misused(capsys, ["train", "--lr", "0"], f"{name} train: argument --lr: must be a number")
    assert main([]) == 0
    assert f"`{name} COMMAND --help` explains a command." in capsys.readouterr().out


def test_the_installed_script_is_the_function_main():
    tomllib = pytest.importorskip("tomllib")  # since Python 3.11
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"bn": "bn.cli:main"}


@pytest.mark.parametrize(
    ("module", "package", "argv"),
    [
        ("sklearn", "scikit-learn", ["train"]),
        ("matplotlib", "matplotlib", ["train"]),
        ("PIL", "pillow", ["predict", "model.npz", "image.png"]),
    ],
)
def test_a_missing_extra_is_named_with_its_cure(capsys, monkeypatch, module, package, argv):
    if module == "sklearn":
        pytest.importorskip("matplotlib")
    monkeypatch.setitem(sys.modules, module, None)
    fails(
        capsys,
        argv,
        f"`python -m bn {argv[0]}` needs {package}, which is not installed: "
        "pip install '.[demo]' in a checkout of bn",
    )


def test_training_on_several_processes_names_its_own_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    fails(
        capsys,
        ["train", "--distributed"],
        "`python -m bn train --distributed` needs mpi4py, which is not installed: "
        "pip install '.[mpi]' in a checkout of bn",
    )


def test_info_needs_no_extra_and_shows_each_fact_in_a_line():
    code = (
        "import sys\n"
        "for name in ('sklearn', 'rich', 'matplotlib', 'PIL'):\n"
        "    sys.modules[name] = None\n"
        "from bn.cli import main\n"
        "sys.exit(main(['info']))\n"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    facts = {line[:13].strip(): line[13:].strip() for line in done.stdout.splitlines()[:6]}
    config = bn.show_config()
    assert facts["bn"] == config["version"]
    assert facts["OpenMP"].startswith("yes" if config["openmp"] else "no")
    assert facts["CPU features"] == config["isa"]
    assert int(facts["threads"]) >= 1
    assert facts["Python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")


def test_info_says_when_openblas_takes_the_cpu_for_an_older_one(capsys, monkeypatch):
    pool = {
        "user_api": "blas",
        "internal_api": "openblas",
        "version": "0.3.31",
        "num_threads": 2,
        "architecture": "Haswell",
    }
    monkeypatch.setattr(info, "threadpool_info", lambda: [pool])
    config = {"version": "1", "openmp": False, "threads": 1, "isa": "avx512"}
    monkeypatch.setattr(bn, "show_config", lambda: config)
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "openblas 0.3.31, 2 threads, built for Haswell" in shown
    assert "OPENBLAS_CORETYPE=SKYLAKEX" in shown
    assert "no: bn runs on one thread" in shown
    pool["architecture"] = "SkylakeX"
    main(["info"])
    assert "OPENBLAS_CORETYPE" not in capsys.readouterr().out


def test_ctrl_c_outside_training_ends_the_command_with_code_130(capsys, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_takes_nothing_is_one_sentence():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bn", "info"],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "standard output: No space left on device\n"


def test_an_error_of_a_file_that_nobody_expected_keeps_its_traceback(monkeypatch):
    def fails_to_read(args):
        Path("nowhere").read_bytes()

    monkeypatch.setattr(info, "run", fails_to_read)
    with pytest.raises(FileNotFoundError):
        main(["info"])


def test_a_reader_that_has_seen_enough_is_no_traceback():
    command = [sys.executable, "-m", "bn", "info"]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
