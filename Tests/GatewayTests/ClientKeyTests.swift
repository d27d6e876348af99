import Market
import Primitives
import Testing

@testable import Gateway

private let laptop = "laptop-key-of-32-characters-long"
private let old = "old-key-of-some-characters"

@Suite struct ClientKeyTests {
    private func chat(_ model: String = "wren-m", _ more: String = "") -> String {
        #"{"model": "\#(model)", "messages": [{"role": "user", "content": "Hi"}]\#(more)}"#
    }

    private func answering() -> FakeNode {
        FakeNode { task in
            task.award()
            _ = task.say("Hello")
            task.finish()
        }
    }

    private func withKeys(_ node: FakeNode, _ body: @escaping @Sendable (Int) async throws -> Void)
        async throws
    {
        try await withGateway(
            node,
            {
                $0.apiKeys = ["owner"]
                $0.clientKeys = [
                    ClientKey(name: "laptop", digest: ClientKey.digest(of: laptop.utf8), models: ["wren-m"]),
                    ClientKey(
                        name: "old", digest: ClientKey.digest(of: old.utf8),
                        expires: WallTime(milliseconds: 1_700_000_000_000)),
                ]
            }, body)
    }

    private func bearer(_ key: String) -> [String: String] { ["Authorization": "Bearer \(key)"] }

    @Test func aTaskIsSubmittedInTheNameOfItsKey() async throws {
        let node = answering()
        try await withKeys(node) { port in
            for key in [laptop, "owner"] {
                let path = "/v1/chat/completions"
                let answer = try await ask(port, "POST", path, body: chat(), headers: bearer(key))
                #expect(answer.status == 200, "\(answer.body)")
            }
            #expect(node.clients == ["laptop", ""])
        }
    }

    @Test(arguments: [("", "invalid_api_key"), ("another-key", "invalid_api_key"), (old, "expired_api_key")])
    func aKeyThatIsUnknownOrHasExpiredIsUnauthorized(key: String, code: String) async throws {
        let node = answering()
        try await withKeys(node) { port in
            let answer = try await ask(
                port, "POST", "/v1/chat/completions", body: chat(), headers: bearer(key))
            #expect(answer.status == 401 && answer.body.contains(#""code":"\#(code)""#), "\(answer.body)")
            #expect(answer.headers["x-should-retry"] == "false" && node.requests.isEmpty)
        }
    }

    @Test func anotherModelThanTheKeysIsForbiddenAlsoAsAFallbackAndInAQuote() async throws {
        let node = answering()
        try await withKeys(node) { port in
            for (path, body) in [
                ("/v1/chat/completions", chat("wren-l")), ("/mesh/quote", chat("wren-l")),
                ("/v1/chat/completions", chat("wren-m", #", "models": ["wren-l"]"#)),
            ] {
                let answer = try await ask(port, "POST", path, body: body, headers: bearer(laptop))
                #expect(
                    answer.status == 403 && answer.body.contains(#""code":"model_not_allowed""#),
                    "\(answer.body)")
                #expect(answer.body.contains(#""param":"model""#))
            }
            #expect(node.requests.isEmpty)
        }
    }

    @Test func whatIsTheOwnersAClientsKeyDoesntOpen() async throws {
        let node = answering()
        try await withKeys(node) { port in
            for (method, path) in [
                ("GET", "/mesh/status"), ("POST", "/mesh/pause"), ("POST", "/mesh/price"),
                ("GET", "/metrics"),
                ("GET", "/mesh/peers"), ("GET", "/mesh/tasks/abcdefgh"),
            ] {
                let answer = try await ask(port, method, path, headers: bearer(laptop))
                #expect(answer.status == 403 && answer.body.contains("owner_only"), "\(path): \(answer.body)")
            }
            let models = try await ask(port, "GET", "/v1/models", headers: bearer(laptop))
            #expect(models.status == 200)
        }
    }

    @Test func aClientSeesItsOwnUsageAndTheOwnerAll() async throws {
        let node = answering()
        try await withKeys(node) { port in
            let own = try await ask(port, "GET", "/mesh/usage", headers: bearer(laptop))
            #expect(own.body.contains(#""client":"laptop""#) && !own.body.contains(#""client":"""#))
            let all = try await ask(port, "GET", "/mesh/usage", headers: bearer("owner"))
            #expect(all.body.contains(#""client":"laptop""#) && all.body.contains(#""client":"""#))
            let metrics = try await ask(port, "GET", "/metrics", headers: bearer("owner"))
            #expect(metrics.body.contains(#"starling_client_cost_microcredits_total{client="laptop"} 46"#))
        }
    }

    @Test func aSpentBudgetIsPaymentRequiredAndNotWorthARetry() async throws {
        let node = FakeNode { $0.fail(.overBudget, "There is too little left.") }
        try await withKeys(node) { port in
            let answer = try await ask(
                port, "POST", "/v1/chat/completions", body: chat(), headers: bearer(laptop))
            #expect(answer.status == 402 && answer.headers["x-should-retry"] == "false")
            #expect(answer.body.contains(#""code":"insufficient_quota""#), "\(answer.body)")
        }
    }

    @Test func keysMayChangeWhileTheNodeRuns() async throws {
        var configuration = GatewayConfiguration()
        configuration.clientKeys = [ClientKey(name: "a", digest: ClientKey.digest(of: laptop.utf8))]
        let terms = CurrentTerms(configuration)
        #expect(terms.now.keys.map(\.name) == ["a"])
        configuration.clientKeys = []
        terms.set(configuration)
        #expect(terms.now.keys.isEmpty)
    }
}
