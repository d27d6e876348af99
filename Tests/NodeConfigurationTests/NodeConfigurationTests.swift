import NodeConfiguration
import Primitives
import Testing

private let oneKey = PublicKey(Bytes32(1, 2, 3, 4)).description

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

    @Test func namesAreTheOwnersOneForEachKey() throws {
        let node = try settings("names: {ada: \(oneKey)}")
        let key = try #require(PublicKey(oneKey))
        #expect(node.names.key(of: "ada") == key && node.names.name(of: key) == "ada")
        #expect(node.names.key(of: "Ada") == nil)
        var names = node.names
        names.add("bob", key)
        names.add("ada", PublicKey(.zero))
        #expect(names.key(of: "bob") == nil && names.key(of: "ada") == key, "the owner's names stay")
        names.add("bob", PublicKey(.zero))
        #expect(names.name(of: PublicKey(.zero)) == "bob")
    }

    @Test func aLabelWithControlCharactersIsRefusedBecauseOtherNodesWouldRefuseIt() throws {
        for escape in ["\\n", "\\e", "\\u202e"] {
            let error = try failure("name: \"a\(escape)b\"")
            #expect(error.description.contains("control characters"))
        }
        #expect(try settings("name: Grüße 🦩").name == "Grüße 🦩")
    }

    @Test(arguments: ["", "\n", "# nothing\n", "---\n"])
    func anEmptyFileWasCutOffAndIsNoNode(text: String) throws {
        let error = try failure(text)
        #expect(error.description == "node.yaml: the file is empty" && error.fix.contains("mesh: {}"))
        #expect(try settings(text, flags: ["name": "ann"]).name == "ann", "the flags say what it shall be")
    }

    @Test func aByteOrderMarkIsNoPartOfTheTextAndOtherEncodingsAreNamed() throws {
        let text = try YAMLReader.text(of: [0xef, 0xbb, 0xbf] + Array("name: ann\n".utf8), file: "node.yaml")
        #expect(try settings(text).name == "ann")
        for bytes: [UInt8] in [[0xff, 0xfe, 0x6e, 0], [0xfe, 0xff, 0, 0x6e], [0x6e, 0x80]] {
            let error = try #require(throws: ConfigurationError.self) {
                try YAMLReader.text(of: bytes, file: "node.yaml")
            }
            #expect(error.fix == "save it as UTF-8")
        }
    }

    @Test(arguments: [
        ("mesh: {join: [\"starling://\(oneKey)@ada.example:7827\"]}", "`getent hosts ada.example` shows it"),
        ("mesh: {address: box}", "`getent hosts box` shows it"),
        ("mesh: {public: \"ada.example:7827\"}", "`getent hosts ada.example` shows it"),
        ("http: {listen: \"localhost:7828\"}", "names aren't looked up: write 127.0.0.1:7828"),
    ])
    func whereAnAddressMustStandANameIsNotLookedUp(yaml: String, fix: String) throws {
        let error = try failure(yaml)
        #expect(error.fix.hasPrefix("names aren't looked up") && error.fix.contains(fix), "\(error.fix)")
    }

    @Test func anEntryOfAListIsSetByItsNumberAndOneThatIsntThereIsAnError() throws {
        let yaml = "serve: [{backend: ollama, model: a}]"
        #expect(try settings(yaml, flags: ["serve[0].slots": "3"]).serve.first?.slots == 3)
        #expect(try settings(yaml, environment: ["STARLING_SERVE_0_SLOTS": "4"]).serve.first?.slots == 4)
        for (flag, hint) in [
            ("serve[1].slots", "no such entry"), ("serve.0.slots", "serve[0].slots"),
            ("names.ada", "--set 'names="),
        ] {
            let error = try #require(throws: ConfigurationError.self) {
                try settings(yaml, flags: [flag: "1"])
            }
            #expect(
                error.description.contains("unknown key `\(flag)`") && error.fix.contains(hint),
                "\(error.fix)")
        }
        #expect(throws: ConfigurationError.self) {
            try settings(yaml, environment: ["STARLING_SERVE_1_SLOTS": "4"])
        }
    }

    @Test func aFileWithoutSettingsIsANodeThatOnlyAsks() throws {
        let node = try settings("mesh: {}")
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
        #expect(serve.terms.inputPrice == 200_000)
        #expect(serve.terms.cachedInputPrice == 20_000)
        #expect(serve.terms.outputPrice == 2_000_000)
        #expect(serve.slots == 2)
        #expect(serve.speed == 60)
    }

    @Test func whatAModelServerNeedsAndTakesIsSetInItsEntry() throws {
        let node = try settings(
            """
            serve:
              - backend: vllm
                url: https://gpu:8000
                model: m
                api_key: secret
                ca_file: /etc/ca.pem
                limits: {schema_values: 10, images: 0}
            ask: {allow_fields: [mirostat]}
            """)
        let serve = try #require(node.serve.first)
        #expect(serve.apiKey == "secret" && serve.certificates == "/etc/ca.pem")
        #expect(serve.limits.schemaValues == 10 && serve.limits.images == 0 && serve.limits.stops == nil)
        #expect(node.ask.allowFields == ["mirostat"])
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
        ("serve: [{backend: vllm, model: a, queue: 1025}]", "`serve[0].queue` is 1025"),
        ("serve: [{backend: vllm, model: a, queue: -1}]", "`serve[0].queue` is -1"),
        ("serve: [{backend: vllm, model: a, queue: long}]", "`serve[0].queue` is long"),
        ("serve: [{backend: managed}]", "a managed `serve` entry has no `file`"),
        ("serve: [{backend: vllm, model: a, features: [tool]}]", "`features` holds tool"),
        (
            "serve: [{backend: vllm, model: a, limits: {schema_values: 9000}}]",
            "`serve[0].limits.schema_values` is 9000"
        ),
        ("serve: [{backend: vllm, model: a, limits: {schema: 1}}]", "unknown key `serve[0].limits.schema`"),
        ("mesh: {join: [http://x]}", "`mesh.join` holds http://x"),
        ("mesh: {seed: a}", "`mesh.seed` makes keys that anybody can derive"),
        ("deny: [abc]", "`deny` holds abc, which is not a public key"),
        ("sell: {strangers_share: 101}", "`sell.strangers_share` is 101"),
        ("sell: {strangers_share: -1}", "`sell.strangers_share` is -1"),
        ("sell: {strangers_share: half}", "`sell.strangers_share` is half"),
        ("sell: {strangers: 50}", "unknown key `sell.strangers`"),
        ("names: [abc]", "`names` must be a mapping (key: value)"),
        ("names: {ada: abc}", "`names.ada` is abc, which is not a public key"),
        ("names: {ada: }", "`names.ada` is empty, which is not a public key"),
        (
            "names: {ada: \(oneKey), bob: \(oneKey)}",
            "`names.bob` is the key that `ada` names already"
        ),
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

    @Test(arguments: [
        ("http://localhost:3000/", "write http://localhost:3000"),
        ("https://a.example:443", "write https://a.example"),
        ("http://a.example/app?x", "write http://a.example"), ("http://[::1]:80", "write http://[::1]"),
        ("a.example", "write scheme://host"), ("localhost:3000", "write scheme://host"),
        ("null", "write scheme://host"),
        ("http://", "write scheme://host"), ("https://*.example", "write scheme://host"),
        ("http://a:b", "write scheme://host"),
    ])
    func anOriginThatNoBrowserSendsIsRefusedWithWhatToWrite(origin: String, fix: String) throws {
        let error = try failure("http: {origins: ['\(origin)']}")
        #expect(error.problem == "`http.origins` holds \(origin), which no browser sends as an origin")
        #expect(error.fix.hasPrefix(fix))
    }

    @Test func originsAndNamesOfTheNodeAreListed() throws {
        let listed = [
            "*", "http://localhost:3000", "https://a.example", "http://[::1]:8080", "app://obsidian.md",
        ]
        let quoted = listed.map { "'\($0)'" }.joined(separator: ",")
        #expect(try settings("http: {origins: [\(quoted)]}").http.origins == listed)
        #expect(try settings("http: {origins: ['HTTPS://A.example']}").http.origins == ["https://a.example"])
        #expect(try settings("http: {hosts: [Attic.lan, mybox]}").http.hosts == ["attic.lan", "mybox"])
        for host in ["mybox:7828", "http://mybox", "a b"] {
            #expect(try failure("http: {hosts: ['\(host)']}").fix.contains("the name alone"))
        }
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

    @Test func theStrangersShareIsHalfUnlessTheFileAFlagOrTheEnvironmentSaysOtherwise() throws {
        #expect(try settings("mesh: {}").sell.strangersShare == 50)
        #expect(try settings("sell: {strangers_share: 0}").sell.strangersShare == 0)
        #expect(try settings("mesh: {}", flags: ["sell.strangers_share": "100"]).sell.strangersShare == 100)
        let environment = ["STARLING_SELL_STRANGERS_SHARE": "25"]
        #expect(try settings("mesh: {}", environment: environment).sell.strangersShare == 25)
    }

    @Test func howManyTasksMayWaitForASlotIsStatedOrLeftToTheNumberOfSlots() throws {
        let file = "serve: [{backend: vllm, model: a, slots: 2}, {backend: vllm, model: b, queue: 0}]"
        #expect(try settings(file).serve.map(\.queue) == [nil, 0])
        #expect(try settings(file, flags: ["serve[0].queue": "1024"]).serve.map(\.queue) == [1_024, 0])
    }

    @Test func aListOutsideTheFileHasCommasOrBracketsAndReplacesTheFiles() throws {
        let keys = ["0", "1"].map { String(repeating: $0, count: 51) + "0" }
        let file = "http: {api_keys: [old]}\nserve: [{backend: ollama, model: a}]\n"
        for list in ["a-key, b-key", "[a-key, b-key]"] {
            #expect(try settings(file, flags: ["http.api_keys": list]).http.apiKeys == ["a-key", "b-key"])
            let environment = ["STARLING_HTTP_API_KEYS": list]
            #expect(try settings(file, environment: environment).http.apiKeys == ["a-key", "b-key"])
        }
        #expect(try settings(file, flags: ["http.api_keys": ""]).http.apiKeys.isEmpty)
        #expect(try settings(file, flags: ["deny": keys.joined(separator: ",")]).deny.count == 2)
        let url = "starling://\(keys[0])@192.0.2.1:7827"
        #expect(
            try settings(file, environment: ["STARLING_MESH_JOIN": url]).mesh.join.map(\.description) == [url]
        )
        #expect(try settings(file, flags: ["serve[0].slots": "4"]).serve.map(\.slots) == [4])
        let serve = "[{backend: vllm, model: b, price: {output: 2}}]"
        #expect(try settings(file, flags: ["serve": serve]).serve.map(\.terms.outputPrice) == [2_000_000])
        let price = ["ask.max_price": "{input: 1, output: 2}"]
        #expect(try settings(file, flags: price).ask.maxOutputPrice == 2_000_000)
    }

    @Test func aValueOutsideTheFileIsTakenAsItIs() throws {
        let node = try settings("mesh: {}", flags: ["name": "a: b #c", "mesh.secret": "{sixteen: letters"])
        #expect(node.name == "a: b #c" && node.mesh.secret == "{sixteen: letters")
    }

    @Test(arguments: [
        ("mesh.prot", "1", "unknown key `mesh.prot`", "did you mean `mesh.port`?"),
        ("serv", "1", "unknown key `serv`", "did you mean `serve`?"),
        (
            "ask.max_price.outptu", "1", "unknown key `ask.max_price.outptu`",
            "did you mean `ask.max_price.output`?"
        ),
        ("mesh.port.x", "1", "unknown key `mesh.port.x`", "did you mean `mesh.port`?"),
        ("mesh.join", "bogus", "`mesh.join` holds bogus", nil),
        ("deny", "abc", "`deny` holds abc, which is not a public key", nil),
        ("http.api_keys", "[abc", "`http.api_keys` must be a list", "write one,two or [one, two]"),
        ("serve", "x", "`serve[0]` must be a mapping (key: value)", nil),
        (
            "ask.max_price", "2", "`ask.max_price` must be a mapping (key: value)",
            "set ask.max_price.input or ask.max_price.output"
        ),
        ("mesh.port", "abc", "`mesh.port` is abc", nil),
    ])
    func aFlagIsReadAsStrictlyAsTheFile(key: String, value: String, problem: String, fix: String?) throws {
        let error = try #require(throws: ConfigurationError.self) {
            _ = try settings("mesh: {port: 1}\n", flags: [key: value])
        }
        #expect(error.problem == problem && error.line == nil)
        #expect(error.file == "--set \(key)", "the flag is at fault, not the file")
        if let fix { #expect(error.fix == fix) }
    }

    @Test func aVariableThatIsNoKeyIsAnErrorUnlessItIsAnotherCommands() throws {
        let error = try #require(throws: ConfigurationError.self) {
            _ = try settings("mesh: {}", environment: ["STARLING_MESH_PROT": "1"])
        }
        #expect(error.file == "STARLING_MESH_PROT" && error.fix.contains("`STARLING_MESH_PORT`"))
        let wrong = try #require(throws: ConfigurationError.self) {
            _ = try settings("mesh: {port: 1}\n", environment: ["STARLING_MESH_PORT": "abc"])
        }
        #expect(wrong.description == "STARLING_MESH_PORT: `mesh.port` is abc")
        _ = try settings(
            "mesh: {}", environment: ["STARLING_VIA": "fay", "STARLING_TESTNET": "/t", "HOME": "/"])
    }

    @Test(arguments: ["", "x", "fifteen letters"])
    func aSecretThatCanBeGuessedIsRefused(secret: String) throws {
        #expect(
            try failure("mesh: {secret: \"\(secret)\"}").problem.hasPrefix("`mesh.secret` has fewer than 16"))
        #expect(throws: ConfigurationError.self) { try settings("mesh: {}", flags: ["mesh.secret": secret]) }
    }

    @Test func aKeyThatAppearsTwiceIsToldSo() throws {
        let error = try failure("name: ann\nname: bob\n")
        #expect(error.problem == "the key name appears twice" && error.fix == "remove one of the two")
    }

    @Test(arguments: [
        ("sell_as: Bad Name!", "`serve[0].sell_as` is Bad Name!, which is not a model's name"),
        ("sell_as: ''", "`serve[0].sell_as` is empty, which is not a model's name"),
        ("url: zzz", "`serve[0].url` is zzz, which is not an address"),
        ("url: 'http://:80'", "`serve[0].url` is http://:80, which is not an address"),
    ])
    func whatIsSoldHasANameAndAnAddress(line: String, problem: String) throws {
        #expect(try failure("serve:\n  - backend: vllm\n    model: a\n    \(line)\n").problem == problem)
    }

    @Test func aServersAddressNeedsNoScheme() throws {
        for url in ["http://attic.lan", "https://127.0.0.1:8080/v1", "127.0.0.1:8000"] {
            let node = try settings("serve: [{backend: vllm, model: a, url: '\(url)'}]")
            #expect(node.serve.first?.url == url)
        }
    }

    @Test func aPeerURLReadsWhatItWrites() throws {
        let text = "starling://\(String(repeating: "0", count: 51))0@192.0.2.1:7827"
        let peer = try #require(PeerURL(text))
        #expect(peer.description == text)
        #expect(PeerURL("starling://abc@192.0.2.1:7827") == nil)
        #expect(PeerURL(text.replacing("7827", with: "0")) == nil)
    }
}
