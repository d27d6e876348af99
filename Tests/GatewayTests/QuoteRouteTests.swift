import Testing

@testable import Gateway

@Suite struct QuoteRouteTests {
    private func body(_ more: String = "") -> String {
        #"{"model": "wren-m", "messages": [{"role": "user", "content": "What is 3 + 4?"}]\#(more)}"#
    }

    @Test func aQuoteIsAskedForWithAChatRequestAndStartsNoTask() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let answer = try await ask(port, "POST", "/mesh/quote", body: body(#", "max_tokens": 9"#))
            #expect(answer.status == 200)
            #expect(answer.body.contains(#""tokens_out":9"#) && answer.body.contains(#""queue_ms":40"#))
            #expect(node.requests.isEmpty)
            let get = try await ask(port, "GET", "/mesh/quote")
            #expect(get.status == 405)
        }
    }

    @Test func thePromptsSizeMayBeStatedInsteadOfSent() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let answer = try await ask(port, "POST", "/mesh/quote?tokens_in=2000", body: body())
            #expect(answer.status == 200 && answer.body.contains(#""tokens_in":2000"#))
            for wrong in ["0", "-1", "x", "", "100000001"] {
                let refused = try await ask(port, "POST", "/mesh/quote?tokens_in=\(wrong)", body: body())
                #expect(refused.status == 400 && refused.body.contains(#""param":"tokens_in""#))
            }
        }
    }

    @Test func whatNobodyWouldDoIsExplainedLikeATask() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let long = try await ask(port, "POST", "/mesh/quote?tokens_in=20000", body: body())
            #expect(long.status == 400 && long.body.contains(#""code":"context_length_exceeded""#))
            #expect(long.body.contains(#""known":5"#) && long.body.contains(#""task":null"#))
            let unknown = body().replacing("wren-m", with: "wren-x")
            let missing = try await ask(port, "POST", "/mesh/quote", body: unknown)
            #expect(missing.status == 404 && missing.body.contains("model_not_found"))
            let field = try await ask(port, "POST", "/mesh/quote", body: body(#", "foo": 1"#))
            #expect(field.status == 400 && field.body.contains("unknown_parameter"))
        }
    }

    @Test func aQuoteNeedsTheKeyLikeATask() async throws {
        let node = FakeNode()
        try await withGateway(node, { $0.apiKeys = ["secret"] }) { port in
            let refused = try await ask(port, "POST", "/mesh/quote", body: body())
            #expect(refused.status == 401)
        }
    }
}
