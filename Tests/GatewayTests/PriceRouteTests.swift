import Testing

@testable import Gateway

@Suite struct PriceRouteTests {
    private let body = #"{"model": "wren-m", "price": {"output": 0.5}}"#

    @Test func newTermsGoToTheNodeAsTheyAre() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let answer = try await ask(port, "POST", "/mesh/price", body: body)
            #expect(answer.status == 200 && answer.body.contains(#""models""#))
            #expect(node.terms == [body])
            let get = try await ask(port, "GET", "/mesh/price")
            #expect(get.status == 405)
        }
    }

    @Test func aRefusalNamesTheProblemAndTheFix() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let answer = try await ask(port, "POST", "/mesh/price", body: #"{"model": "x"}"#)
            #expect(answer.status == 400 && answer.body.contains("it sells wren-m"))
            #expect(answer.body.contains(#""code":"invalid_terms""#) && node.terms.isEmpty)
        }
    }

    @Test func theyNeedTheOwnersKey() async throws {
        let node = FakeNode()
        try await withGateway(node, { $0.apiKeys = ["secret"] }) { port in
            let refused = try await ask(port, "POST", "/mesh/price", body: body)
            #expect(refused.status == 401 && node.terms.isEmpty)
        }
    }
}
