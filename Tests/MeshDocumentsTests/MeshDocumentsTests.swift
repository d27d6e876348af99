import Foundation
import MeshDocuments
import Testing

private func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}

@Test func absentValuesAreWrittenAsNullAndReadBackFromNullOrNothing() throws {
    let reach = ReachDocument(state: "direct", endpoint: "127.0.0.1:7410", how: "loopback", confirmedBy: 3)
    #expect(
        try json(reach)
            == #"{"confirmed_by":3,"endpoint":"127.0.0.1:7410","fix":null,"how":"loopback","state":"direct","tested":null}"#
    )
    let read = try JSONDecoder().decode(
        ReachDocument.self, from: Data(#"{"state":"alone","confirmed_by":0,"endpoint":null}"#.utf8))
    #expect(read == ReachDocument(state: "alone"))
    let tested = ReachDocument(
        state: "datagrams", confirmedBy: 4,
        tested: .init(
            datagrams: "yes", channels: "no", endpoint: "203.0.113.7:7827", networks: 4, ageSeconds: 240))
    #expect(try JSONDecoder().decode(ReachDocument.self, from: Data(try json(tested).utf8)) == tested)
}

@Test func timesAreUTCWithMilliseconds() {
    #expect(Timestamp.text(milliseconds: 0) == "1970-01-01T00:00:00.000Z")
    #expect(Timestamp.text(milliseconds: 1_795_455_602_120) == "2026-11-23T17:40:02.120Z")
    #expect(Timestamp.text(milliseconds: 951_782_400_000) == "2000-02-29T00:00:00.000Z")
    #expect(Timestamp.text(milliseconds: -1) == "1969-12-31T23:59:59.999Z")
    #expect(Timestamp.text(milliseconds: .max) == "9999-12-31T23:59:59.999Z")
    #expect(Timestamp.text(milliseconds: .min) == "0000-01-01T00:00:00.000Z")
}

@Test func theExplainedRefusalOfTheSurfacesPageIsReadWhole() throws {
    let text = """
        {"error": {"message": "No node sells wren-m at 1.00", "type": "no_bid", "code": "over_max_price",
          "param": "provider.max_price.completion",
          "metadata": {"task": "7f3k4d", "model": "wren-m", "known": 5, "asked": 0, "bids": 0,
            "reasons": {"other_model": 2, "over_max_price": 3},
            "nearest": {"node_id": "k81c", "name": "bob", "change": {"provider.max_price.completion": 1.60}},
            "alternatives": [{"model": "wren-s", "completion": 0.50}], "retry_after_s": null}}}
        """
    let read = try JSONDecoder().decode(ErrorDocument.self, from: Data(text.utf8))
    #expect(read.error.metadata?.nearest?.change["provider.max_price.completion"] == 1.6)
    #expect(read.error.metadata?.alternatives == [.init(model: "wren-s", completion: 0.5)])
    #expect(try JSONDecoder().decode(ErrorDocument.self, from: Data(try json(read).utf8)) == read)
}
