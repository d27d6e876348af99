// The compiled half of `scripts/bench`: what Python is too slow to measure. It prints raw figures as one JSON
// object; goals and comparisons are in scripts/benchmarks/.

import ArgumentParser
import Primitives
import UVLoop

@main
struct StarlingBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "starling-bench",
        abstract:
            "Helpers of scripts/bench: a scripted model server, load generators, a DHT-only node, micro-benchmarks.",
        subcommands: [
            BackendCommand.self, LoadCommand.self, CryptoCommand.self, AmplificationCommand.self,
            DHTNodeCommand.self, DHTInMemoryCommand.self, PingLoadCommand.self, FloodCommand.self,
            LookupStudyCommand.self,
            RendezvousStudyCommand.self, EclipseStudyCommand.self,
            MarketStudyCommand.self, OverloadStudyCommand.self, ChartCommand.self,
        ])
}

struct BackendCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backend",
        abstract: "A scripted model server with OpenAI's API, on the loopback address.",
        discussion: """
            Answers every chat with "w0 w1 w2 …", at once or paced; a chat that ends with the start of that text is continued \
            as by vLLM (`backend: vllm`). A question with "fail500" fails with that status. Prints one line of JSON, {"url", "pid"}, when it listens.
            GET /stats: {"requests", "running", "finished", "aborted", "last_body", "last_path"}; an answer is aborted when \
            its client leaves before the end.
            """)
    @Option(help: "0 means any free port.") var port: UInt16 = 0
    @Option(help: "Tokens of an answer; the request's limit may be lower.") var tokens = 16
    @Option(help: "Milliseconds between two tokens; 0 sends all in one write.") var interval = 0.0
    @Option(help: "Milliseconds before the first token.") var first = 0.0
    @Flag(help: "Write each token by itself, as fast as the loop turns, not all at once.") var apart = false
    @Option(help: "The model's name.") var model = "bench"

    func run() throws {
        _ = FileDescriptors.raiseLimit()
        let script = AnswerScript(
            model: model, tokens: tokens, interval: .microseconds(Int64(interval * 1_000)),
            first: .microseconds(Int64(first * 1_000)), isApart: apart)
        try BenchmarkBackend.serve(script, port: port)
    }
}

struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Ask OpenAI-compatible servers over persistent connections and time every answer.",
        discussion: """
            With several --to, each client asks them in turn (A B, B A, A B, …), so that a slow moment of the machine affects all \
            alike. Prints one line of JSON: for each server arrays of microseconds, one entry an answer.
            """)
    @Option(help: "Base URL of a server, http://127.0.0.1:PORT; may be repeated.") var to: [String]
    @Option(help: "The model to ask for.") var model = "bench"
    @Option(help: "Clients, each with one request at a time at each server.") var clients = 1
    @Option(help: "Stop after this many answers from each server.") var requests = Int.max
    @Option(help: "Stop after this many seconds.") var seconds = 60.0
    @Option(help: "The token limit in the request; 0 means none.") var tokens = 0
    @Option(help: "Bytes of the question.") var promptBytes = 300
    @Option(help: "A key of the servers'.") var key = ""
    @Flag(help: "Ask for answers that are not streamed.") var whole = false
    @Flag(help: "Read the beginning of each answer, and then nothing.") var stalled = false

    func run() throws {
        _ = FileDescriptors.raiseLimit()
        try LoadGenerator.run(
            .init(
                targets: to, model: model, clients: clients, requests: requests, seconds: seconds,
                tokens: tokens,
                promptBytes: promptBytes, key: key, isStreamed: !whole, isStalled: stalled))
    }
}

struct CryptoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crypto", abstract: "Our cryptography and sessions against bare libsodium, in one run.")
    @Option(help: "Seconds for each pair of functions.") var seconds = 0.6
    @Flag(help: "Only handshakes, macs and PINGs.") var sessionsOnly = false

    func run() throws { try CryptoBenchmark(seconds: seconds, sessionsOnly: sessionsOnly).run() }
}

struct DHTNodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dht-node", abstract: "A node that is only a DHT, controlled by lines on stdin.",
        discussion: """
            put ID TOPIC     registers as a provider      {"put": ID, "ok", "ms", "holders"}
            get ID TOPIC     searches the first provider  {"first": ID, "ms"}, {"got": ID, "ok", "ms", "found", "asked"}
            find ID TOPIC    searches all providers       the same
            stats ID         {"stats": ID, "cpu_seconds", "contacts", "sent", "received", …}
            Says {"ready": "KEY@ADDRESS"} at the start and {"connected": true} when it has joined. Ends with its stdin.
            """)
    @Option(help: "ADDRESS:PORT") var listen = "127.0.0.1:0"
    @Option(help: "KEY@ADDRESS:PORT of a node to join by; may be repeated.") var join: [String] = []
    @Option(help: "Any text; the key is derived from it.") var seed: String
    @Option(help: "Models that it pretends to sell.") var offers = 0

    func run() throws {
        guard let listen = Endpoint(listen) else { throw ValidationError("--listen \(listen)") }
        let peers = try join.map { text in
            guard let peer = PeerAddress(benchmark: text) else { throw ValidationError("--join \(text)") }
            return peer
        }
        try DHTNode.run(DHTNodePlan(listen: listen, join: peers, seed: seed, offers: offers))
    }
}

struct PingLoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ping-load",
        abstract: "PINGs to a dht-node, or datagrams to an echo server, and the answerer's cost of each.")
    @Option(help: "KEY@ADDRESS:PORT of a node, or ADDRESS:PORT of an echo server.") var to: String
    @Option(help: "The answerer's pid.") var pid: Int32
    @Option(help: "Number of datagrams.") var count = 100_000
    @Option(help: "Bytes of each, for an echo server.") var size = 48

    func run() throws {
        let peer = PeerAddress(benchmark: to)
        guard let endpoint = peer?.endpoint ?? Endpoint(to) else { throw ValidationError("--to \(to)") }
        try PingLoad(target: endpoint, key: peer?.key, pid: pid, count: count, size: size).run()
    }
}

struct FloodCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flood",
        abstract: "Send first handshake messages of random bytes to a node on this machine.")
    @Option(help: "KEY@127.0.0.1:PORT") var to: String
    @Flag(help: "Give them a valid mac.") var rightMac = false
    @Option(help: "Messages a second; 0 means as many as one core can send.") var rate = 0
    @Option(help: "Duration, at most 60.") var seconds = 5.0

    func run() throws {
        guard let peer = PeerAddress(benchmark: to), peer.endpoint.isLoopback else {
            throw ValidationError("--to \(to): only nodes on this machine")
        }
        try HandshakeFlood(
            target: peer.endpoint, key: peer.key, hasRightMac: rightMac, rate: rate, seconds: min(seconds, 60)
        ).run()
    }
}

extension PeerAddress {
    /// Parses `KEY@ADDRESS:PORT`.
    fileprivate init?(benchmark text: String) {
        let parts = text.split(separator: "@")
        guard parts.count == 2, let bytes = Base32.decode(parts[0]), let key = Bytes32(bytes),
            let endpoint = Endpoint(parts[1])
        else { return nil }
        self.init(key: PublicKey(key), endpoint: endpoint)
    }
}
