import NodeConfiguration
import Primitives
import Testing

@Suite struct NodeConfigurationTests {
    private func settings(_ yaml: String, flags: [String: String] = [:], environment: [String: String] = [:])
        throws -> NodeSettings
    {
        try NodeSettings(
            parsing: yaml, source: .init(file: "node.yaml", flags: flags, environment: environment),
            home: "/home/ann")
    }

    private func failure(_ yaml: String) throws -> ConfigurationError {
        try #require(throws: ConfigurationError.self) { _ = try settings(yaml) }
    }

    @Test func anEmptyFileIsANodeThatOnlyAsks() throws {
        let node = try settings("")
        #expect(node.serve.isEmpty)
        #expect(node.mesh.name == "main")
        #expect(node.mesh.listen == Endpoint("0.0.0.0:7827"))
        #expect(node.http.listen == Endpoint("127.0.0.1:7828"))
        #expect(node.data == "/home/ann/.local/share/starling")
    }

    @Test func pricesAreCreditsPerMillionTokensAndCachedInputIsATenthUnlessSaid() throws {
        let node = try settings(
            """
            serve:
              - {backend: managed, file: /m/wren-m.gguf, slots: 2, speed: 60, price: {input: 0.20, output: 2.00}}
            """)
        let serve = try #require(node.serve.first)
        #expect(serve.model == "wren-m")
        #expect(serve.inputPrice == 200_000)
        #expect(serve.cachedInputPrice == 20_000)
        #expect(serve.outputPrice == 2_000_000)
        #expect(serve.slots == 2)
        #expect(serve.speed == 60)
    }

    @Test func anUnknownKeyIsAnErrorThatNamesItsLineAndTheNearestKnownOne() throws {
        let error = try failure("name: ann\nmesh:\n  prot: 7000\n")
        #expect(error.line == 3)
        #expect(error.description == "node.yaml:3: unknown key `mesh.prot`")
        #expect(error.fix == "did you mean `port`?")
    }

    @Test(arguments: [
        ("mesh: {port: 70000}", "`mesh.port` is 70000"), ("mesh: {port: x}", "`mesh.port` is x"),
        ("serve: {backend: ollama}", "`serve` must be a list"),
        ("serve: [{model: a}]", "a `serve` entry has no `backend`"),
        ("serve: [{backend: olama, model: a}]", "`serve[0].backend` is olama"),
        ("serve: [{backend: managed}]", "a managed `serve` entry has no `file`"),
        ("serve: [{backend: vllm, model: a, features: [tool]}]", "`features` holds tool"),
        ("mesh: {join: [http://x]}", "`mesh.join` holds http://x"),
        ("mesh: {seed: a}", "`mesh.seed` makes keys that anybody can derive"),
        ("deny: [abc]", "`deny` holds abc, which is not a public key"),
        (
            "http: {listen: 0.0.0.0:80}",
            "`http.listen` is 0.0.0.0:80, which strangers can reach, and there is no `http.api_keys`"
        ),
        ("ask: {max_price: {output: -1}}", "`ask.max_price.output` is -1"),
        ("name: {a: b}", "`name` must be one value"),
        ("- a", "the file must be a mapping (key: value)"), ("log: {level: loud}", "`log.level` is loud"),
    ])
    func badInputGetsASentenceThatNamesTheKey(yaml: String, problem: String) throws {
        let error = try failure(yaml)
        #expect(error.problem == problem)
        #expect(!error.fix.isEmpty)
    }

    @Test func whatIsNotYAMLSaysWhere() throws {
        let error = try failure("name: ann\n mesh: [\n")
        #expect(error.line != nil)
        #expect(error.problem.hasPrefix("not YAML"))
    }

    @Test func aFlagWinsOverTheEnvironmentAndThatOverTheFile() throws {
        let file = "mesh: {port: 1000}\n"
        #expect(try settings(file).mesh.listen.port == 1000)
        #expect(try settings(file, environment: ["STARLING_MESH_PORT": "2000"]).mesh.listen.port == 2000)
        #expect(
            try settings(file, flags: ["mesh.port": "3000"], environment: ["STARLING_MESH_PORT": "2000"]).mesh
                .listen.port == 3000)
    }

    @Test func aPeerURLReadsWhatItWrites() throws {
        let text = "starling://\(String(repeating: "0", count: 51))0@192.0.2.1:7827"
        let peer = try #require(PeerURL(text))
        #expect(peer.description == text)
        #expect(PeerURL("starling://abc@192.0.2.1:7827") == nil)
        #expect(PeerURL(text.replacing("7827", with: "0")) == nil)
    }
}
