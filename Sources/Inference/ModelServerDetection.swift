import CLibuv
import OpenAIFormat
import Primitives

/// A model server that answered at one of the usual addresses.
public struct FoundModelServer: Sendable, Hashable {
    public var dialect: BackendDialect
    public var url: String
    /// Empty if the server has no model yet, or doesn't say.
    public var models: [ModelDescription]
    /// Why it doesn't say which models it has, and the fix.
    public var problem: BackendFailure?
}

/// The default addresses of model servers: Ollama, llama.cpp, vLLM, LM Studio.
public let usualModelServerURLs = [
    "http://127.0.0.1:11434", "http://127.0.0.1:8080", "http://127.0.0.1:8000", "http://127.0.0.1:1234",
]

/// Looks for model servers at `urls`, all at once, and returns those found in the order of `urls`. For
/// `starling init`: it blocks its thread, and runs a loop of its own, until all have answered or `timeout`
/// has passed for each question (at most five questions a server, and one for each of sixteen models at Ollama).
/// It generates nothing and loads no model.
public func detectModelServers(
    at urls: [String] = usualModelServerURLs, apiKey: String? = nil, certificates: String? = nil,
    timeout: Interval = .milliseconds(500)
) -> [FoundModelServer] {
    let servers = urls.map {
        ServerAddress(dialect: .openAI, url: $0, apiKey: apiKey, certificates: certificates)
    }
    var found: [(index: Int, server: FoundModelServer)] = []
    onOwnLoop { http, isDone in
        var open = urls.count
        if urls.isEmpty { isDone() }
        for (index, server) in servers.enumerated() {
            detect(server, http: http, timeout: timeout) { server in
                if let server { found.append((index, server)) }
                open -= 1
                if open == 0 { isDone() }
            }
        }
    }
    return found.sorted { $0.index < $1.index }.map(\.server)
}

/// Runs a loop on this thread until `work` has called its second argument.
func onOwnLoop(_ work: (HTTPStreams, @escaping () -> Void) -> Void) {
    let loop = UnsafeMutablePointer<uv_loop_t>.allocate(capacity: 1)
    defer { loop.deallocate() }
    guard uv_loop_init(loop) == 0 else { return }
    let http = HTTPStreams(loop: loop)
    var isDone = false
    work(http) { isDone = true }
    while !isDone, uv_run(loop, UV_RUN_ONCE) != 0 {}
    http.close()
    uv_run(loop, UV_RUN_DEFAULT)
    uv_loop_close(loop)
}

/// Ollama answers `/api/version`; the others are told apart by the `owned_by` of the models in `/v1/models`.
/// `explains`: what answers and lists no models is returned too, with the problem.
func detect(
    _ server: ServerAddress, http: HTTPStreams, timeout: Interval, explains: Bool = false,
    then done: @escaping (FoundModelServer?) -> Void
) {
    func described(_ dialect: BackendDialect) -> ServerAddress {
        ServerAddress(
            dialect: dialect, url: server.base, apiKey: server.apiKey, certificates: server.certificates)
    }
    func describe(_ dialect: BackendDialect) {
        ModelCatalogue(server: described(dialect), http: http, timeout: timeout).list { models in
            switch models {
            case .success(let models):
                done(FoundModelServer(dialect: dialect, url: server.base, models: models))
            case .failure(let failure):
                done(FoundModelServer(dialect: dialect, url: server.base, models: [], problem: failure))
            }
        }
    }
    Fetch.start(server.request("/api/version", timeout: timeout), on: http) { answer in
        if answer.json?["version"]?.text != nil { return describe(.ollama) }
        if case .failure(let failure) = answer, failure.code == .unreachable {
            let isUntrusted = failure.message.contains("ca_file")
            return done(
                isUntrusted
                    ? FoundModelServer(dialect: .openAI, url: server.base, models: [], problem: failure) : nil
            )
        }
        Fetch.start(server.request("/v1/models", timeout: timeout), on: http) { answer in
            if let failure = answer.failure, failure.code == .unauthorized {
                return done(
                    FoundModelServer(dialect: .openAI, url: server.base, models: [], problem: failure))
            }
            if let problem = ModelList.problem(answer) {
                return done(
                    explains
                        ? FoundModelServer(dialect: .openAI, url: server.base, models: [], problem: problem)
                        : nil)
            }
            switch answer.json.flatMap(ModelList.init)?.entries.first?["owned_by"]?.text {
            case "llamacpp": describe(.llamaCpp)
            case "vllm": describe(.vllm)
            default: describe(.openAI)
            }
        }
    }
}
