import CLibuv
import OpenAIFormat
import Primitives

/// A model server that answered at one of the usual addresses.
public struct FoundModelServer: Sendable, Hashable {
    public var dialect: BackendDialect
    public var url: String
    /// Empty if the server has no model yet.
    public var models: [ModelDescription]
}

/// The default addresses of model servers: Ollama, llama.cpp, vLLM, LM Studio.
public let usualModelServerURLs = [
    "http://127.0.0.1:11434", "http://127.0.0.1:8080", "http://127.0.0.1:8000", "http://127.0.0.1:1234",
]

/// Looks for model servers at `urls`, all at once, and returns those found in the order of `urls`. For
/// `starling init`: it blocks its thread, and runs a loop of its own, until all have answered or `timeout`
/// has passed for each question (at most four questions a server). It generates nothing and loads no model.
public func detectModelServers(
    at urls: [String] = usualModelServerURLs, timeout: Interval = .milliseconds(500)
) -> [FoundModelServer] {
    let loop = UnsafeMutablePointer<uv_loop_t>.allocate(capacity: 1)
    defer { loop.deallocate() }
    guard uv_loop_init(loop) == 0 else { return [] }
    let http = HTTPStreams(loop: loop)
    var found: [(index: Int, server: FoundModelServer)] = []
    var open = urls.count
    for (index, url) in urls.enumerated() {
        detect(url, http: http, timeout: timeout) { server in
            if let server { found.append((index, server)) }
            open -= 1
        }
    }
    while open > 0, uv_run(loop, UV_RUN_ONCE) != 0 {}
    http.close()
    uv_run(loop, UV_RUN_DEFAULT)
    uv_loop_close(loop)
    return found.sorted { $0.index < $1.index }.map(\.server)
}

/// Ollama answers `/api/version`; the others are told apart by the `owned_by` of the models in `/v1/models`.
private func detect(
    _ url: String, http: HTTPStreams, timeout: Interval, then done: @escaping (FoundModelServer?) -> Void
) {
    func describe(_ dialect: BackendDialect) {
        let server = ServerAddress(dialect: dialect, url: url, apiKey: nil)
        ModelCatalogue(server: server, http: http, timeout: timeout).list { models in
            done(FoundModelServer(dialect: dialect, url: server.base, models: models))
        }
    }
    let server = ServerAddress(dialect: .openAI, url: url, apiKey: nil)
    Fetch.start(server.request("/api/version", timeout: timeout), on: http) { answer in
        if answer.json?["version"]?.text != nil { return describe(.ollama) }
        if case .failure(let failure) = answer, failure.code == .unreachable { return done(nil) }
        Fetch.start(server.request("/v1/models", timeout: timeout), on: http) { answer in
            guard let list = answer.json?["data"]?.elements else { return done(nil) }
            switch list.first?["owned_by"]?.text {
            case "llamacpp": describe(.llamaCpp)
            case "vllm": describe(.vllm)
            default: describe(.openAI)
            }
        }
    }
}
