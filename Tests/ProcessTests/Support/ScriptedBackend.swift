import Foundation
import MeshClient
import Testing

/// A model server controlled by the test: see scripted_backend.py. Its one model is called `parrot`.
final class ScriptedBackend: Sendable {
    let process: Spawned
    let url: String

    private init(_ process: Spawned, _ url: String) { (self.process, self.url) = (process, url) }

    static func with<T>(_ script: String = "{}", _ body: (ScriptedBackend) async throws -> T) async throws
        -> T
    {
        let folder = try Project.folder("backend")
        let process = try Spawned(Project.python, [Project.script("scripted_backend.py")], folder: folder)
        defer {
            process.stop()
            Project.remove(folder)
        }
        let url = try await eventually("the scripted backend listens") { process.lines.first?["url"].text }
        let backend = ScriptedBackend(process, url)
        try await backend.play(script)
        return try await body(backend)
    }

    /// A line for a testnet's `nodes:`.
    func seller(_ name: String, slots: Int = 1, output: Double = 1, backend: String = "openai") -> String {
        #"\#(name): {serves: parrot, url: "\#(url)", backend: \#(backend), price: {input: 0.1, output: \#(output)}, slots: \#(slots)}"#
    }

    /// Changes how it answers from now on.
    func play(_ script: String) async throws {
        let url = url
        let status = try await blocking {
            try MeshClient(base: url).post("/script", json: Array(script.utf8)).status
        }
        try #require(status == 200)
    }

    struct Request: Sendable {
        var body: JSON
        var begun: Double
        /// `finished` or `aborted`, and when; nil while it runs.
        var how: String?
        var ended: Double?
    }

    /// Clients' requests so far, without the node's own trials.
    func requests() async throws -> [Request] {
        let url = url
        let log = try await blocking { JSON(parsing: Data(try MeshClient(base: url).get("/log").body)) }
        return log["requests"].list.filter { $0["trial"].flag == false }.map {
            Request(
                body: $0["body"], begun: $0["begun"].number ?? 0, how: $0["how"].text,
                ended: $0["ended"].number)
        }
    }
}
