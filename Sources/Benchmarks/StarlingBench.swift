// The compiled half of `scripts/bench`: what Python is too slow or too far away to measure. It prints raw figures as one
// JSON object; goals and comparisons are in scripts/benchmarks/.

import ArgumentParser

@main
struct StarlingBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "starling-bench",
        abstract: "Helpers of scripts/bench: a scripted model server, a load generator, micro-benchmarks.",
        subcommands: [BackendCommand.self, LoadCommand.self, CryptoCommand.self, AmplificationCommand.self])
}

struct BackendCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backend",
        abstract: "A scripted model server with OpenAI's API, on the loopback address.",
        discussion: """
            Answers every chat with "w0 w1 w2 …", at once or paced. Prints one line of JSON, {"url", "pid"}, when it listens.
            GET /stats: {"requests", "running", "finished", "aborted", "last_body", "last_path"}; an answer is aborted when \
            its client leaves before the end.
            """)
    @Option(help: "0: any free one.") var port: UInt16 = 0
    @Option(help: "Tokens of an answer; the request's limit may shorten it.") var tokens = 16
    @Option(help: "Milliseconds between two tokens; 0: all in one write.") var interval = 0.0
    @Option(help: "Milliseconds before the first token.") var first = 0.0
    @Option(help: "The model's name.") var model = "bench"

    func run() throws {
        let script = AnswerScript(
            model: model, tokens: tokens, interval: .microseconds(Int64(interval * 1_000)),
            first: .microseconds(Int64(first * 1_000)))
        try ScriptedBackend.serve(script, port: port)
    }
}

struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Asks OpenAI-compatible servers over kept connections and times every answer.",
        discussion: """
            With several --to, each client asks them in turn (A B, B A, A B, …), so that a disturbance of the machine hits all \
            alike. Prints one line of JSON: for each server arrays of microseconds, one entry an answer.
            """)
    @Option(help: "Base URL of a server, http://127.0.0.1:PORT; several: asked in turn.") var to: [String]
    @Option(help: "The model to ask for.") var model = "bench"
    @Option(help: "Clients, each with one request at a time at each server.") var clients = 1
    @Option(help: "Stop after so many answers of each server.") var requests = Int.max
    @Option(help: "Stop after so many seconds.") var seconds = 60.0
    @Option(help: "The limit of tokens in the request; 0: none.") var tokens = 0
    @Option(help: "Bytes of the question.") var promptBytes = 300
    @Flag(help: "Ask for whole answers, not streams.") var whole = false

    func run() throws {
        try LoadGenerator.run(
            .init(
                targets: to, model: model, clients: clients, requests: requests, seconds: seconds,
                tokens: tokens,
                promptBytes: promptBytes, isStreamed: !whole))
    }
}

struct CryptoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crypto", abstract: "Our cryptography and sessions against bare libsodium, in one run.")
    @Option(help: "Seconds for each pair of functions.") var seconds = 0.6

    func run() throws { try CryptoBenchmark(seconds: seconds).run() }
}
