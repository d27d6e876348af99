import OpenAIFormat
import Primitives

/// The measured speed of a backend: tokens per second, and the time to the first token, warm and cold
/// separately.
///
/// Real answers refresh it. Nothing is generated only to measure, except once at the first start: a probe
/// would load six gigabytes into somebody's graphics card. Codable, so that it can be kept between starts.
public struct SpeedMeter: Sendable, Hashable, Codable {
    /// One answer, as seen at the backend's side, before pacing.
    struct Sample: Sendable {
        var isCold: Bool
        var firstToken: Interval
        /// Tokens computed before the first one could come: the prompt's, less those cached.
        var prefillTokens: Int
        var tokens: Int
        /// Tokens that were read together with the first: small models send many at once.
        var tokensWithFirst: Int
        /// From the first token to the last.
        var span: Interval
        /// We held the answer up, so its rate says nothing.
        var wasHeld: Bool
        /// What the server itself says of its reading: without other prompts that came first.
        var promptSpeed: BackendChunk.PromptSpeed?
        init(
            isCold: Bool, firstToken: Interval, prefillTokens: Int, tokens: Int, tokensWithFirst: Int = 1,
            span: Interval, wasHeld: Bool, promptSpeed: BackendChunk.PromptSpeed? = nil
        ) {
            self.isCold = isCold
            self.firstToken = firstToken
            self.prefillTokens = prefillTokens
            self.tokens = tokens
            self.tokensWithFirst = tokensWithFirst
            self.span = span
            self.wasHeld = wasHeld
            self.promptSpeed = promptSpeed
        }
    }

    /// Weight of a new answer. 1/8 follows a change within ten answers and absorbs a single outlier.
    static let weight = 0.125
    /// Answers with fewer tokens say nothing about the rate.
    static let tokensMin = 8
    /// Prompts below this are short: their first token shows the fixed cost. Above, it shows the rate of
    /// prefill.
    static let shortPrompt = 256
    /// The same where the server says how fast it read.
    static let shortStatedPrompt = 32

    /// 0 while unknown, like the other figures.
    public var tokensPerSecond = 0.0
    public var warmFirstTokenSeconds = 0.0
    public var coldFirstTokenSeconds = 0.0
    public var prefillTokensPerSecond = 0.0
    public var answers = 0

    public init() {}

    /// The warm time, or the cold one while only that is known: a first answer is cold.
    public var firstTokenSeconds: Double {
        warmFirstTokenSeconds > 0 ? warmFirstTokenSeconds : coldFirstTokenSeconds
    }

    public var isMeasured: Bool { tokensPerSecond > 0 && warmFirstTokenSeconds > 0 }

    /// Updates the figures by one answer. One that we held up, or with fewer than `tokensMin` tokens, says
    /// nothing about the rate.
    mutating func record(_ sample: Sample) {
        answers &+= 1
        let first = max(0, sample.firstToken.seconds)
        let stated = sample.promptSpeed.flatMap {
            $0.tokens >= Self.shortStatedPrompt ? $0.tokensPerSecond : nil
        }
        if let stated, stated > 0 { Self.blend(&prefillTokensPerSecond, Double(stated)) }
        if sample.isCold {
            Self.blend(&coldFirstTokenSeconds, first)
        } else if sample.prefillTokens < Self.shortPrompt {
            Self.blend(&warmFirstTokenSeconds, min(first, Self.mostBelieved(warmFirstTokenSeconds)))
        } else if stated == nil, first > warmFirstTokenSeconds {
            Self.blend(
                &prefillTokensPerSecond,
                Double(sample.prefillTokens) / max(1e-6, first - warmFirstTokenSeconds))
        }
        guard !sample.wasHeld else { return }
        let later = sample.tokens - sample.tokensWithFirst
        if later >= Self.tokensMin, sample.span > .zero {
            Self.blend(&tokensPerSecond, Double(later) / sample.span.seconds)
        } else if tokensPerSecond == 0, sample.tokens >= Self.tokensMin {
            // All tokens came at once: the rate over the whole time is a bound that can be kept.
            tokensPerSecond = Double(sample.tokens) / max(1e-6, (sample.firstToken + sample.span).seconds)
        }
    }

    /// The speed to promise when answers are paced to `speed` tokens per second (0: not paced).
    public func paced(to speed: Double) -> SpeedMeter {
        guard speed > 0 else { return self }
        var paced = self
        paced.tokensPerSecond = tokensPerSecond > 0 ? min(tokensPerSecond, speed) : speed
        paced.warmFirstTokenSeconds = max(warmFirstTokenSeconds, 1 / speed)
        if coldFirstTokenSeconds > 0 { paced.coldFirstTokenSeconds = max(coldFirstTokenSeconds, 1 / speed) }
        return paced
    }

    /// Whether the figures to announce have moved by more than a fifth: a smaller change isn't worth a new
    /// offer.
    func differs(from other: SpeedMeter) -> Bool {
        func moved(_ a: Double, _ b: Double) -> Bool { abs(a - b) > 0.2 * max(a, b) }
        return moved(tokensPerSecond, other.tokensPerSecond)
            || moved(warmFirstTokenSeconds, other.warmFirstTokenSeconds)
            || moved(coldFirstTokenSeconds, other.coldFirstTokenSeconds)
            || moved(prefillTokensPerSecond, other.prefillTokensPerSecond)
    }

    /// The most that one sample counts as. An answer can stall because the process was stopped or the machine slept; if
    /// that counted in full, the next bids would promise seconds, and buyers would wait that long for a dead worker.
    private static func mostBelieved(_ value: Double) -> Double {
        value == 0 ? .infinity : max(10 * value, value + 0.1)
    }

    private static func blend(_ value: inout Double, _ new: Double) {
        value = value == 0 ? new : value + weight * (new - value)
    }
}
