// Closed-loop clients: each has one request in flight. All times are taken at the socket, in microseconds.

import Glibc
import Primitives
import UVLoop

struct LoadSettings: Sendable {
    var targets: [String]
    var model: String
    var clients: Int
    /// Answers from each target, over all clients.
    var requests: Int
    var seconds: Double
    var tokens: Int
    var promptBytes: Int
    var key: String
    var isStreamed: Bool
    /// Clients stop reading when an answer begins.
    var isStalled: Bool

    func request(host: String) -> [UInt8] {
        let prompt = String(repeating: "word ", count: max(1, promptBytes / 5))
        var body =
            "{\"model\":\(quoted(model)),\"messages\":[{\"role\":\"user\",\"content\":\(quoted(prompt))}],\"temperature\":0"
        if tokens > 0 { body += ",\"max_tokens\":\(tokens)" }
        if isStreamed { body += ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" }
        body += "}"
        let key = key.isEmpty ? "" : "Authorization: Bearer \(key)\r\n"
        return Array(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: \(host)\r\n\(key)Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                .utf8)
    }
}

/// Measured times of one target's answers.
struct LoadSamples {
    var first: [Int64] = []
    var last: [Int64] = []
    var total: [Int64] = []
    var tokens: [Int] = []
    var tasks: [String] = []
    var timings: [String] = []
    var errors = 0
    var firstError = ""
}

final class LoadGenerator {
    let plan: LoadSettings
    let loop: EventLoop
    let endpoints: [Endpoint]
    let requests: [[UInt8]]
    var samples: [LoadSamples]
    private var started: [Int]
    private var clients: [LoadClient] = []
    private var connected = 0
    private var over = 0
    private var startedAt = MonotonicTime.zero
    private var cpuAtStart = 0.0

    init(_ plan: LoadSettings, _ endpoints: [Endpoint], _ loop: EventLoop) {
        self.plan = plan
        self.loop = loop
        self.endpoints = endpoints
        requests = endpoints.map { plan.request(host: $0.description) }
        samples = endpoints.map { _ in LoadSamples() }
        started = endpoints.map { _ in 0 }
    }

    static func run(_ plan: LoadSettings) throws {
        let endpoints = plan.targets.map { url -> Endpoint in
            let address = url.hasPrefix("http://") ? String(url.dropFirst(7)) : url
            guard let endpoint = Endpoint(String(address.prefix { $0 != "/" })) else {
                complain("starling-bench: --to \(url) is not http://ADDRESS:PORT")
                exit(64)
            }
            return endpoint
        }
        let loop = try EventLoop(name: "load")
        loop.post {
            let generator = LoadGenerator(plan, endpoints, loop)
            generator.connect()
        }
        loop.start()
        while true { pause() }
    }

    private func connect() {
        clients = (0..<plan.clients).map { LoadClient(number: $0, self) }
        for client in clients { client.connect() }
    }

    /// Starts all clients once every one has its connections.
    func isConnected() {
        connected += 1
        guard connected == plan.clients else { return }
        startedAt = SystemClock.monotonic
        cpuAtStart = Stopwatch.processCPU()
        for client in clients { client.ask() }
    }

    /// Whether one more request may go to `target`.
    func mayAsk(_ target: Int) -> Bool {
        guard started[target] < plan.requests, (SystemClock.monotonic - startedAt).seconds < plan.seconds
        else { return false }
        started[target] += 1
        return true
    }

    func isOver() {
        over += 1
        guard over == plan.clients else { return }
        let seconds = (SystemClock.monotonic - startedAt).seconds
        var report = BenchmarkReport()
        report.add("seconds", seconds)
        report.add("cpu_seconds", Stopwatch.processCPU() - cpuAtStart)
        report.add("targets", json: "[" + zip(plan.targets, samples).map(json).joined(separator: ", ") + "]")
        say(report.json)
        exit(0)
    }

    private func json(_ target: String, _ samples: LoadSamples) -> String {
        var report = BenchmarkReport()
        func list<T>(_ values: [T]) -> String { "[" + values.map { "\($0)" }.joined(separator: ",") + "]" }
        report.add("url", json: quoted(target))
        report.add("errors", json: "\(samples.errors)")
        report.add("first_error", json: quoted(samples.firstError))
        report.add("first_us", json: list(samples.first))
        report.add("last_us", json: list(samples.last))
        report.add("total_us", json: list(samples.total))
        report.add("tokens", json: list(samples.tokens))
        report.add("tasks", json: list(samples.tasks.map(quoted)))
        report.add("timings", json: list(samples.timings.map(quoted)))
        return report.json
    }

    func fail(_ words: String) -> Never {
        complain("starling-bench: \(words)")
        exit(69)
    }
}

/// One client with a connection to each target.
final class LoadClient {
    private let number: Int
    private unowned let generator: LoadGenerator
    private var connections: [LoadConnection] = []
    private var standing = 0
    private var step = 0

    init(number: Int, _ generator: LoadGenerator) {
        self.number = number
        self.generator = generator
    }

    func connect() {
        connections = generator.endpoints.indices.map {
            LoadConnection(target: $0, generator) { [unowned self] in self.ask() }
        }
        for connection in connections {
            connection.open { [unowned self] in
                standing += 1
                if standing == connections.count { generator.isConnected() }
            }
        }
    }

    /// Asks the next target in the order A B, B A, A B, …
    func ask() {
        let count = connections.count
        let place = step % count
        let isForward = (step / count + number) % 2 == 0
        let target = isForward ? place : count - 1 - place
        step += 1
        guard generator.mayAsk(target) else { return generator.isOver() }
        connections[target].ask()
    }
}
