import OpenAIFormat
import Primitives
import Testing

@testable import Inference

private func at(_ milliseconds: Int64) -> MonotonicTime { .zero + .milliseconds(milliseconds) }

@Suite struct HealthMachineTests {
    let ill = BackendFailure(.error, "ill")

    @Test func theBackoffDoublesToItsBoundUntilARealAnswer() {
        var health = HealthMachine(backoffMin: .milliseconds(500), backoffMax: .seconds(30))
        var waits: [Int64] = []
        for _ in 0..<9 {
            health.failed(ill, now: at(0))
            waits.append(health.probeAt.nanoseconds / 1_000_000)
            health.startChecking()
            health.checked()
        }
        #expect(waits == [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
        health.answered()
        health.failed(ill, now: at(0))
        #expect(health.probeAt == at(500))
    }

    @Test func furtherFailuresDontMoveTheProbe() {
        var health = HealthMachine(backoffMin: .milliseconds(500), backoffMax: .seconds(30))
        health.failed(ill, now: at(0))
        health.failed(BackendFailure(.hung, "later"), now: at(400))
        #expect(health.state == .down(reason: ill, probeAt: at(500)))
    }
}

@Suite struct SpeedMeterTests {
    private func sample(
        cold: Bool = false, first: Int64, prompt: Int = 8, tokens: Int = 101, span: Int64 = 1_000,
        held: Bool = false
    )
        -> SpeedMeter.Sample
    {
        SpeedMeter.Sample(
            isCold: cold, firstToken: .milliseconds(first), prefillTokens: prompt, tokens: tokens,
            span: .milliseconds(span), wasHeld: held)
    }

    @Test func warmAndColdAreApartAndNewAnswersWeighAnEighth() {
        var meter = SpeedMeter()
        meter.record(sample(cold: true, first: 6_000))
        #expect(!meter.isMeasured && meter.coldFirstTokenSeconds == 6)
        meter.record(sample(first: 100))
        meter.record(sample(first: 900, span: 500))
        #expect(meter.isMeasured)
        #expect(abs(meter.warmFirstTokenSeconds - 0.2) < 1e-9)
        #expect(abs(meter.tokensPerSecond - 112.5) < 1e-9)
    }

    @Test func anAnswerThatStoodStillOnceHardlyCountsAndALastingChangeDoes() {
        var meter = SpeedMeter()
        meter.record(sample(first: 10))
        meter.record(sample(first: 4_000))
        #expect(meter.warmFirstTokenSeconds < 0.05)
        for _ in 0..<30 { meter.record(sample(first: 4_000)) }
        #expect(meter.warmFirstTokenSeconds > 3)
    }

    @Test func whatTheServerSaysOfItsReadingComesBeforeWhatWasSeen() {
        var meter = SpeedMeter()
        meter.warmFirstTokenSeconds = 0.1
        var long = sample(first: 10_100, prompt: 1_000)
        long.promptSpeed = .init(tokens: 1_000, tokensPerSecond: 500)
        meter.record(long)
        #expect(meter.prefillTokensPerSecond == 500, "the rest was another's prompt")
        var short = sample(first: 100, prompt: 8)
        short.promptSpeed = .init(tokens: 8, tokensPerSecond: 20)
        meter.record(short)
        #expect(meter.prefillTokensPerSecond == 500)
    }

    @Test func longPromptsTellThePrefillAndHeldAnswersNothing() {
        var meter = SpeedMeter()
        meter.tokensPerSecond = 50
        meter.warmFirstTokenSeconds = 0.1
        meter.record(sample(first: 1_100, prompt: 1_000, held: true))
        #expect(meter.warmFirstTokenSeconds == 0.1 && meter.tokensPerSecond == 50)
        #expect(abs(meter.prefillTokensPerSecond - 1_000) < 1e-6)
    }

    @Test func aPacedBackendPromisesItsPace() {
        var meter = SpeedMeter()
        meter.tokensPerSecond = 3_800
        meter.warmFirstTokenSeconds = 0.002
        #expect(
            meter.paced(to: 50).tokensPerSecond == 50 && meter.paced(to: 50).warmFirstTokenSeconds == 0.02)
        #expect(meter.paced(to: 0) == meter)
    }
}

@Suite struct GGUFHeaderTests {
    static let model = "testnet/models/wren-s.gguf"

    @Test func aModelsHeaderIsRead() throws {
        let header = try GGUFHeader(path: Project.path(Self.model))
        #expect(header.quantization == "q8_0")
        #expect(fileDigest(path: Project.path(Self.model)) != nil)
        #expect(throws: GGUFHeader.ReadError.notGGUF) { try GGUFHeader(path: Project.path("Package.swift")) }
        #expect(throws: GGUFHeader.ReadError.self) { try GGUFHeader(path: Project.path("testnet")) }
        #expect(throws: GGUFHeader.ReadError.unreadable(errno: 2)) { try GGUFHeader(path: "/nowhere") }
    }

    @Test func noTruncationOrChangedByteOfAHeaderCrashes() {
        var bytes: [UInt8] =
            Array("GGUF".utf8) + [3, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + [3]
            + [UInt8](repeating: 0, count: 7)
        func string(_ text: String) -> [UInt8] {
            [UInt8(text.utf8.count), 0, 0, 0, 0, 0, 0, 0] + Array(text.utf8)
        }
        bytes += string("general.architecture") + [8, 0, 0, 0] + string("llama")
        bytes += string("x") + [9, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0] + string("a") + string("bc")
        bytes += string("general.file_type") + [4, 0, 0, 0, 7, 0, 0, 0]
        func parse(_ bytes: [UInt8]) throws -> GGUFHeader {
            try bytes.withUnsafeBytes { try GGUFHeader(parsing: $0) }
        }
        #expect((try? parse(bytes))?.quantization == "q8_0")
        for count in 0..<bytes.count {
            #expect(throws: GGUFHeader.ReadError.self) { try parse(Array(bytes[..<count])) }
        }
        for index in bytes.indices {
            for value: UInt8 in [0, 1, 9, 0x7F, 0xFF] {
                var changed = bytes
                changed[index] = value
                _ = try? parse(changed)
            }
        }
    }
}
