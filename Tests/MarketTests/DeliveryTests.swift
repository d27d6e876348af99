import Primitives
import Testing
import Wire

@testable import Market

@Suite struct DeliveryTests {
    func delta(_ text: String, extra: String = "", tokens: UInt32 = 1) -> Delta {
        Delta(offset: 0, text: Array(text.utf8), tokens: tokens, extra: Array(extra.utf8))
    }

    @Test func textIsKeptForAnotherWorkerUntilItIsMoreThanTextOrTooLong() {
        var plain = Delivery(request())
        plain.append(delta("Hel"), tokens: 1, textMax: 5, .zero)
        #expect(plain.text == Array("Hel".utf8) && plain.isResumable)
        plain.append(delta("lo!"), tokens: 2, textMax: 5, .zero)
        #expect(plain.text.isEmpty && !plain.isResumable, "longer than what is kept")
        #expect(plain.position.bytes == 6 && plain.position.tokens == 2)

        var call = Delivery(request())
        call.append(delta("", extra: "[{}]"), tokens: 3, textMax: 5, .zero)
        #expect(!call.isResumable && call.position.bytes == 4)
        #expect(!Delivery(request { $0.resumable = false }).isResumable)
        #expect(!Delivery(request { $0.kind = .embedding }).isResumable)
    }

    @Test func onlyADeliveryThatHasBegunMustGoOnWithItsModel() {
        var delivery = Delivery(request())
        let version = ModelVersion(digest: Bytes32(9, 9, 9, 9), quantization: "q8_0")
        delivery.start(with: version)
        #expect(delivery.continuing == nil)
        delivery.append(delta("a"), tokens: 1, textMax: 5, .zero)
        #expect(delivery.continuing == version)
    }

    @Test func aClientTakesNoMoreThanItWasGiven() {
        var delivery = Delivery(request { $0.tokensOutMax = 2 })
        delivery.append(delta("abc"), tokens: 1, textMax: 5, .zero)
        #expect(delivery.tokensLeft == 1)
        delivery.consume(2)
        delivery.consume(.max)
        #expect(delivery.consumed == 3)
        delivery.append(delta("d"), tokens: 7, textMax: 5, .zero)
        #expect(delivery.tokensLeft == 0)
        #expect(Delivery(request()).tokensLeft == nil)
    }

    @Test func aWholeAnswerIsBoundedAndTakenOnce() {
        var delivery = Delivery(request { $0.kind = .embedding })
        let fits = delivery.collect([1, 2], bytesMax: 3)
        let fitsMore = delivery.collect([3, 4], bytesMax: 3)
        #expect(fits && !fitsMore)
        #expect(delivery.takeWhole() == [1, 2] && delivery.takeWhole().isEmpty)
    }
}
