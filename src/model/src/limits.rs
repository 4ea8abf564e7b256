//! Every limit's default in one place. What an operator may change is read from the configuration into the struct
//! of the part concerned; these are where those structs start from.

/// Largest message body at any door: RabbitMQ 4.x's default.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Virtual hosts; an AWS door that verifies nothing makes one for every account and region it hears of.
pub const VHOSTS_MAX: usize = 1024;
/// Longest exchange, queue or routing name: the AMQP short string.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest MQTT topic.
pub const TOPIC_BYTES_MAX: usize = 65_535;
/// Most words (levels) in a routing key or topic; mosquitto's cap.
pub const TOPIC_LEVELS_MAX: usize = 200;
/// Retained topics that begin so are the broker's own figures: in memory only, and never in the log.
pub const OWN_TOPICS: &str = "$SYS.";
/// Most entries in one header table.
pub const TABLE_ENTRIES_MAX: usize = 1024;
/// Deepest nesting of tables and arrays.
pub const TABLE_DEPTH_MAX: usize = 32;
/// Open channels per AMQP connection.
pub const CHANNELS_MAX: u16 = 2047;
/// AMQP frame size offered.
pub const FRAME_BYTES_MAX: u32 = 131_072;
/// Exchanges visited while routing one message.
pub const ROUTE_HOPS_MAX: usize = 64;
/// Bytes that a worker may have handed to one connection before the connection says that it wrote them.
pub const CONNECTION_WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of directly delivered messages that may wait in one connection's outbox; beyond it they are dropped.
pub const DIRECT_OUTBOX_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that may wait in a worker's mailbox before connections stop reading.
pub const MAILBOX_BYTES: usize = 32 * 1024 * 1024;
/// Commands and messages that a worker handles in one turn.
pub const TURN_COMMANDS_MAX: usize = 4096;
/// Bytes of one group commit.
pub const COMMIT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Smaller bodies are copied out of the read buffer, so that a queued message does not pin it.
pub const COPY_OUT_BELOW_BYTES: usize = 1024;
/// Consumers of one connection.
pub const CONSUMERS_PER_CONNECTION_MAX: usize = 65_536;
/// Leases that one deadline-holding queue may have out (SQS: 120,000).
pub const LEASES_PER_QUEUE_MAX: usize = 120_000;
