#!/usr/bin/env python3
"""Serves one GGUF file with llama.cpp's HTTP server, which PyPI's xllamacpp contains as a library.

    .cache/venv/bin/python scripts/llama-server.py testnet/models/wren-m.gguf --parallel 2

Prints one line of JSON when the model is loaded: {"url", "pid", "ready_s"}. The server runs on threads of this
process, whose main thread then only waits for a signal. With --parent it ends when that process does, even if killed.
`starling node` starts it for `backend: managed`.
"""
import argparse
import ctypes
import json
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1


def die_with(parent):
    """Asks the kernel for SIGKILL when the parent dies. Exits if the parent has died already."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this server is gone")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="the model, a GGUF file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 means any free port")
    parser.add_argument("--parallel", type=int, default=1, help="concurrent answers (slots)")
    parser.add_argument("--context", type=int, default=512, help="context of each slot, in tokens")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--alias", help="the model's name; default: the file's name")
    parser.add_argument("--embeddings", action="store_true", help="also answer /v1/embeddings")
    parser.add_argument("--parent", type=int, help="pid of the parent: this process ends when that one does")
    return parser.parse_args()


def parameters(options):
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = options.file
    p.model_alias = {options.alias or os.path.basename(options.file).removesuffix(".gguf")}
    p.hostnames = [options.host]
    p.port = options.port
    p.n_parallel = options.parallel
    p.n_ctx = options.context * options.parallel
    p.n_batch = p.n_ubatch = 512
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = options.threads
    p.n_threads_http = options.parallel + 2
    # An answer must not depend on what other slots are answering: no shared KV buffer.
    p.kv_unified = False
    p.cont_batching = True
    p.cache_prompt = True
    p.cache_ram_mib = 0
    p.fit_params = False
    p.use_jinja = True
    p.warmup = True
    p.endpoint_props = p.endpoint_slots = p.endpoint_metrics = True
    p.ui = False
    p.verbosity = 0
    if options.embeddings:
        p.embedding = True
        p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return p


def main():
    options = parse()
    if options.parent is not None:
        die_with(options.parent)
    try:
        import xllamacpp
    except ImportError as error:
        sys.exit(f"llama.cpp is not installed for {sys.executable}: {error}. Run scripts/setup.")
    started = time.monotonic()
    try:
        server = xllamacpp.Server(parameters(options))
    except Exception as error:
        sys.exit(f"llama.cpp can't serve {options.file}: {error}")
    ready = {"url": server.listening_address, "pid": os.getpid(), "ready_s": round(time.monotonic() - started, 3)}
    print(json.dumps(ready), flush=True)
    # The C++ threads would block a normal exit, and there is nothing to save.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    while True:
        signal.pause()


main()
