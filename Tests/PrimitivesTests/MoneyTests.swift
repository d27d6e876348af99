import Foundation
import Primitives
import Testing

@Suite struct MoneyTests {
    private static let most = Money(microCredits: .max)
    private static let least = Money(microCredits: .min)
    private static let one = Money(microCredits: 1)

    @Test func sumsDifferencesAndNegationsSaturate() {
        #expect(Self.most + Self.one == Self.most && Self.least - Self.one == Self.least)
        #expect(Self.most - Self.least == Self.most && Self.least - Self.most == Self.least)
        #expect(-Self.least == Self.most && Self.least.magnitude == Self.most)
        #expect(Self.one - Self.one == .zero && (-Self.one).magnitude == Self.one)
        var sum = Self.most
        sum += Self.most
        sum -= Self.one
        #expect(sum == Money(microCredits: .max - 1))
    }

    @Test func aDocumentHasTheNumber() throws {
        let amounts = [Self.most, .zero, -Self.one]
        let json = try JSONEncoder().encode(amounts)
        #expect(String(decoding: json, as: UTF8.self) == "[9223372036854775807,0,-1]")
        #expect(try JSONDecoder().decode([Money].self, from: json) == amounts)
        #expect("\(-Self.one)" == "-1")
    }
}
