import Foundation
import MeshClient
import Testing

/// A testnet of real processes in its own folder, driven by the command line like an operator would.
final class TestMesh: Sendable {
    struct Node: Sendable {
        var name: String, state: String, id: String, key: String, http: String, log: String
        var pid: Int32
        var udpPort: UInt16
        var httpPort: UInt16
        var all: JSON
    }

    let folder: String
    let name: String
    var file: String { "\(folder)/\(name).yaml" }

    private init(_ yaml: String, _ name: String) throws {
        self.name = name
        folder = try Project.folder(name)
        try FileManager.default.createSymbolicLink(
            atPath: "\(folder)/models", withDestinationPath: "\(Project.root)/testnet/models")
        try yaml.write(toFile: "\(folder)/\(name).yaml", atomically: true, encoding: .utf8)
    }

    /// Starts nodes, given as lines of the file's `nodes:`, before `body`. Stops and purges them when it
    /// ends, even by a throw.
    static func with<T>(_ nodes: String, name: String = "net", _ body: (TestMesh) async throws -> T)
        async throws -> T
    {
        let lines = nodes.split(separator: "\n").map { "  \($0)\n" }.joined()
        return try await with(file: "mesh: testnet-\(name)\nports: auto\nnodes:\n\(lines)", name: name, body)
    }

    static func with<T>(
        file yaml: String, name: String, isUp: Bool = true, _ body: (TestMesh) async throws -> T
    ) async throws -> T {
        let mesh = try TestMesh(yaml, name)
        _ = Trouble.take()
        do {
            if isUp { try await mesh.up() }
            let result = try await body(mesh)
            if Trouble.take() { mesh.printLogs() }
            await mesh.remove()
            return result
        } catch {
            mesh.printLogs()
            await mesh.remove()
            throw error
        }
    }

    private func remove() async {
        _ = try? await starling("testnet", "down", "--purge")
        Project.remove(folder)
    }

    private func printLogs() {
        let logs = (try? FileManager.default.subpathsOfDirectory(atPath: "\(folder)/.run/\(name)")) ?? []
        for log in logs.sorted() where log.hasSuffix(".log") {
            let text = String(
                decoding: FileManager.default.contents(atPath: "\(folder)/.run/\(name)/\(log)") ?? Data(),
                as: UTF8.self)
            print("---- \(log)")
            print(text.split(separator: "\n").suffix(40).joined(separator: "\n"))
        }
    }

    // MARK: Commands

    var environment: [String: String] { ["STARLING_TESTNET": folder] }

    func start(_ arguments: [String], input: String? = nil) throws -> Spawned {
        try Spawned(Project.program, arguments, environment: environment, folder: folder, input: input)
    }

    func starling(_ arguments: String..., input: String? = nil) async throws -> Spawned.Finished {
        try await start(arguments, input: input).finished()
    }

    /// Runs a `testnet` command that must succeed.
    @discardableResult
    func testnet(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> Spawned.Finished
    {
        let finished = try await start(["testnet"] + arguments).finished()
        try #require(
            finished.status == 0, "testnet \(arguments): \(finished.err)", sourceLocation: sourceLocation)
        return finished
    }

    func up() async throws { try await testnet("up", file) }

    func nodes() async throws -> [Node] {
        try await testnet("status", "--json").json.list.map { node in
            Node(
                name: node["name"].text ?? "", state: node["state"].text ?? "",
                id: node["node_id"].text ?? "",
                key: node["public_key"].text ?? "", http: node["http"].text ?? "",
                log: node["log"].text ?? "",
                pid: Int32(node["pid"].int ?? 0), udpPort: Self.port(node["udp"].text),
                httpPort: Self.port(node["http"].text), all: node)
        }
    }

    func node(_ name: String) async throws -> Node {
        try #require(try await nodes().first { $0.name == name })
    }

    private static func port(_ address: String?) -> UInt16 {
        address?.split(separator: ":").last.flatMap { UInt16($0) } ?? 0
    }

    // MARK: HTTP

    struct Answer: Sendable {
        var status: Int
        var headers: [String: String]
        var body: String
        var json: JSON { JSON(parsing: body) }
    }

    func get(_ path: String, at node: Node, timeout: Double = 5) async throws -> Answer {
        try await Self.answer { try MeshClient(base: node.http).get(path, timeout: timeout) }
    }

    func post(_ path: String, _ body: String, at node: Node, timeout: Double = 30) async throws -> Answer {
        try await Self.answer {
            try MeshClient(base: node.http).post(path, json: Array(body.utf8), timeout: timeout)
        }
    }

    /// A chat that isn't streamed.
    func chat(_ prompt: String, model: String, at node: Node, more: String = "") async throws -> Answer {
        try await post("/v1/chat/completions", chatBody(prompt, model: model, more: more), at: node)
    }

    private static func answer(_ call: @escaping @Sendable () throws -> MeshClient.Response) async throws
        -> Answer
    {
        let response = try await blocking(call)
        return Answer(
            status: response.status, headers: response.headers,
            body: String(decoding: response.body, as: UTF8.self))
    }

    func transcript(_ task: String, at node: Node) async throws -> JSON {
        try await get("/mesh/tasks/\(task)", at: node).json
    }

    /// Busy slots of a seller with one model.
    func slotsBusy(at node: Node) async throws -> Int? {
        try await get("/mesh/status", at: node).json["models"][0]["slots_busy"].int
    }
}

/// `more` holds further members, each preceded by a comma.
func chatBody(_ prompt: String, model: String, more: String = "") -> String {
    #"{"model": "\#(model)", "messages": [{"role": "user", "content": "\#(prompt)"}], "temperature": 0\#(more)}"#
}
