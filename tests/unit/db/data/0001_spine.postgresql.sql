-- What mediagate at 74baef4, whose schema is 0001_spine, left in a PostgreSQL schema when it was ended by kill -9
-- while it had tasks in every state: `pg_dump --inserts` of it, without the name of the schema.
CREATE TABLE alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE assets (
    id text NOT NULL,
    owner text NOT NULL,
    family text NOT NULL,
    key text NOT NULL,
    mime text NOT NULL,
    size bigint NOT NULL,
    sha256 text NOT NULL,
    width integer,
    height integer,
    seconds double precision,
    filename text NOT NULL,
    prompt text NOT NULL,
    model text NOT NULL,
    upstream text NOT NULL,
    kind text NOT NULL,
    task_id text,
    source_module text NOT NULL,
    created_at double precision NOT NULL,
    metadata text NOT NULL
);

CREATE TABLE chats (
    id text NOT NULL,
    owner text NOT NULL,
    name text NOT NULL,
    model text NOT NULL,
    kind text NOT NULL,
    upstream text,
    account_id text,
    upstream_chat text,
    created_at double precision NOT NULL,
    updated_at double precision NOT NULL
);

CREATE TABLE file_copies (
    sha256 text NOT NULL,
    account_id text NOT NULL,
    ref text NOT NULL,
    expires_at double precision,
    created_at double precision NOT NULL
);

CREATE TABLE files (
    id text NOT NULL,
    owner text NOT NULL,
    key text NOT NULL,
    name text NOT NULL,
    mime text NOT NULL,
    size bigint NOT NULL,
    sha256 text NOT NULL,
    created_at double precision NOT NULL
);

CREATE TABLE outputs (
    id text NOT NULL,
    task_id text NOT NULL,
    "position" integer NOT NULL,
    state text NOT NULL,
    asset_id text,
    error text
);

CREATE TABLE settings (
    key text NOT NULL,
    value text NOT NULL
);

CREATE TABLE tasks (
    id text NOT NULL,
    owner text NOT NULL,
    kind text NOT NULL,
    model text NOT NULL,
    upstream text NOT NULL,
    account_id text,
    state text NOT NULL,
    request text NOT NULL,
    job text,
    params text NOT NULL,
    progress double precision NOT NULL,
    eta double precision,
    error text,
    usage text,
    chat_id text,
    attempts text NOT NULL,
    created_at double precision NOT NULL,
    submitted_at double precision,
    started_at double precision,
    finished_at double precision,
    deadline double precision NOT NULL,
    next_poll_at double precision NOT NULL,
    lease_owner text,
    lease_until double precision DEFAULT 0 NOT NULL,
    polls integer DEFAULT 0 NOT NULL,
    native text NOT NULL,
    cancel_requested boolean DEFAULT false NOT NULL
);

CREATE TABLE turns (
    id text NOT NULL,
    chat_id text NOT NULL,
    owner text NOT NULL,
    parent_id text,
    messages text NOT NULL,
    answer text NOT NULL,
    model text NOT NULL,
    upstream text NOT NULL,
    account_id text,
    upstream_ref text,
    created_at double precision NOT NULL
);

CREATE TABLE usage (
    id bigint NOT NULL,
    at double precision NOT NULL,
    request_id text NOT NULL,
    owner text NOT NULL,
    kind text NOT NULL,
    model text NOT NULL,
    upstream text NOT NULL,
    account_id text NOT NULL,
    status integer NOT NULL,
    code text NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    images integer NOT NULL,
    media_seconds double precision NOT NULL,
    seconds double precision NOT NULL,
    attempts integer NOT NULL,
    task_id text
);

CREATE SEQUENCE usage_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE usage_id_seq OWNED BY usage.id;

ALTER TABLE ONLY usage ALTER COLUMN id SET DEFAULT nextval('usage_id_seq'::regclass);

INSERT INTO alembic_version VALUES ('0001_spine');

INSERT INTO assets VALUES ('asset_ee25421334b1b5ad08810b71064fd855', '6a7a5ff2770e6c97', 'image', 'images/2026-11/sandbox-image_20261121_140636_ee254213.png', 'image/png', 5707, '72796b27910a25b7f7b1681d00e538e14703132386f860b2ef22d9647d811398', 64, 64, NULL, 'sandbox-image_20261121_140636_ee254213.png', 'a red fox', 'sandbox-image', 'sandbox', 't2i', NULL, 'api', 1795269996.942416, '{}');
INSERT INTO assets VALUES ('asset_2825591ff0893e84e8cd14adfd15856f', '6a7a5ff2770e6c97', 'image', 'images/2026-11/sandbox-image_20261121_140636_2825591f.png', 'image/png', 5641, '628702efbef129d02c0958f6e465f6a745cf7b699a468779d13b510107c45c74', 64, 64, NULL, 'sandbox-image_20261121_140636_2825591f.png', 'a red fox', 'sandbox-image', 'sandbox', 't2i', NULL, 'api', 1795269996.956854, '{}');
INSERT INTO assets VALUES ('asset_a8cec5ac6f00ed50a2dc8d0e248d99fc', '3414a0f1bbb1467b', 'audio', 'audio/2026-11/sandbox-speech_20261121_140637_a8cec5ac.mp3', 'audio/mpeg', 7124, '730981cf998aa4642bc05163a4260210a86e14c2435c26fc882df693256b3400', NULL, NULL, 0.8, 'sandbox-speech_20261121_140637_a8cec5ac.mp3', 'Good day.', 'sandbox-speech', 'sandbox', 'tts', NULL, 'api', 1795269997.0449212, '{}');
INSERT INTO assets VALUES ('asset_7df23b50d0e712a3fe2033dd7b38bdad', '3414a0f1bbb1467b', 'image', 'images/2026-11/sandbox-image_20261121_140637_7df23b50.png', 'image/png', 5570, 'a2f43f8d44b7562fda707086f03d8d58d04255cb494ad58b69bc82e548c665a3', 64, 64, NULL, 'sandbox-image_20261121_140637_7df23b50.png', 'a quiet house', 'sandbox-image', 'sandbox', 't2i', NULL, 'api', 1795269997.193316, '{}');
INSERT INTO assets VALUES ('asset_455561bf3126340e435717bac17122cb', '3414a0f1bbb1467b', 'video', 'videos/2026-11/sandbox-video_20261121_140638_455561bf.mp4', 'video/mp4', 35107, '9ea62ba40ac1bee05daaf244e0b82a84af55ddc6d5b07f59b144619058033d7a', 128, 72, 1, 'sandbox-video_20261121_140638_455561bf.mp4', 'let it fly', 'sandbox-video', 'sandbox', 'i2v', 'task_779f9e70b1f9aa3400adcde9f729dcc6', 'api', 1795269998.526415, '{}');
INSERT INTO assets VALUES ('asset_4845c97b973586f37dabe125ec122eb1', '3414a0f1bbb1467b', 'video', 'videos/2026-11/sandbox-video_20261121_140639_4845c97b.mp4', 'video/mp4', 31175, '8bb5c6113c3e1a175cdc78c53c8788964a4b7bba318c522fd6bf80d6d2d71fa8', 128, 72, 1, 'sandbox-video_20261121_140639_4845c97b.mp4', 'waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊', 'sandbox-video', 'sandbox', 't2v', 'task_700e94f7bff8e9611794420488a95df9', 'api', 1795269999.7920532, '{}');
INSERT INTO assets VALUES ('asset_fb232cfd6e7658d070187fc51dab6147', '6a7a5ff2770e6c97', 'video', 'videos/2026-11/sandbox-video_20261121_140641_fb232cfd.mp4', 'video/mp4', 31583, '9587f83bcebe76644115f7399a2023934d3f2f8ee687831893a9366f310be2ac', 128, 72, 1, 'sandbox-video_20261121_140641_fb232cfd.mp4', 'waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊', 'sandbox-video', 'sandbox', 't2v', 'task_4192c5b86d35e6958f2a741a7637322f', 'api', 1795270001.2898707, '{}');
INSERT INTO assets VALUES ('asset_09f602034cc99915f810fb33f6d95a98', '3414a0f1bbb1467b', 'video', 'videos/2026-11/sandbox-video_20261121_140642_09f60203.mp4', 'video/mp4', 31583, '9587f83bcebe76644115f7399a2023934d3f2f8ee687831893a9366f310be2ac', 128, 72, 1, 'sandbox-video_20261121_140642_09f60203.mp4', 'waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊', 'sandbox-video', 'sandbox', 't2v', 'task_f245e0f83ce34d38e75d0e6ea73dd2ff', 'api', 1795270002.575024, '{}');

INSERT INTO chats VALUES ('chat_97a6c7e0f5a90e182810528c68b38e55', '3414a0f1bbb1467b', '', 'qwen3-max', 't2t', NULL, NULL, NULL, 1795269996.7412946, 1795269996.7663085);
INSERT INTO chats VALUES ('chat_89a3d5c87af047f656466840cfd47e0f', '3414a0f1bbb1467b', '', 'qwen3-max', 't2t', NULL, NULL, NULL, 1795269996.7758987, 1795269996.7850506);
INSERT INTO chats VALUES ('chat_d14322d4f9edc237ca016e9bf5c3b45f', '3414a0f1bbb1467b', '', 'sandbox-image', 't2t', NULL, NULL, NULL, 1795269997.199478, 1795269997.198823);
INSERT INTO chats VALUES ('chat_087799fff1d5490218cce8d614c3531c', '3414a0f1bbb1467b', '', 'qwen3-max', 't2t', NULL, NULL, NULL, 1795269998.551707, 1795269998.5512035);
INSERT INTO chats VALUES ('chat_184e6e0a504ef83a77cb5a9f49b63e41', '3414a0f1bbb1467b', '', 'sandbox-video', 't2t', NULL, NULL, NULL, 1795269998.5699615, 1795269998.569139);
INSERT INTO chats VALUES ('chat_c25176ac3ec9c011e4318b329b875564', '6a7a5ff2770e6c97', '', 'sandbox-video', 't2t', NULL, NULL, NULL, 1795269999.8227477, 1795269999.8223839);
INSERT INTO chats VALUES ('chat_9460b10520729cca9e37d8510e6effad', '3414a0f1bbb1467b', '', 'sandbox-video', 't2t', NULL, NULL, NULL, 1795269997.2362611, 1795270001.3294818);
INSERT INTO chats VALUES ('chat_198b002f2c4d5950f8f69ebcd5664cf7', '3414a0f1bbb1467b', '', 'sandbox-video', 't2t', NULL, NULL, NULL, 1795270002.5988429, 1795270002.5981975);
INSERT INTO chats VALUES ('chat_d7a4b9c3b44a475b1ceb05daca79798a', '6a7a5ff2770e6c97', '', 'sandbox-video', 't2t', NULL, NULL, NULL, 1795270003.6316192, 1795270003.6307325);
INSERT INTO chats VALUES ('chat_92cb0a1f31c64b0d39112507b0c11a0d', '3414a0f1bbb1467b', '', 'sandbox-video', 't2t', NULL, NULL, NULL, 1795270004.582524, 1795270004.5822105);
INSERT INTO chats VALUES ('chat_288a5cd2167662d0cc2ba4c7715d8a6d', '3414a0f1bbb1467b', '', 'sandbox-video', 't2t', NULL, NULL, NULL, 1795270004.6091483, 1795270004.608795);
INSERT INTO chats VALUES ('chat_f9a25e5f175ba478912ac4df75efee41', '6a7a5ff2770e6c97', '', 'sandbox-video', 't2t', NULL, NULL, NULL, 1795270004.6234295, 1795270004.622972);
INSERT INTO chats VALUES ('chat_c3cad6bfb8a56c95431e939880d7c96b', '6a7a5ff2770e6c97', '', 'narrow-video', 't2t', NULL, NULL, NULL, 1795270007.883918, 1795270007.8833127);

INSERT INTO file_copies VALUES ('b4fb98390ce0c3a0b5573132caf5dc3afb24dff8a09207f099125f1e2a988797', 'qwen/a1', '{"type":"image","name":"upload_20261121_140637_b34446d8.png","file_type":"image/png","showType":"image","file_class":"vision","status":"uploaded","id":"23b2f3b1-2783-4832-8ec8-256819158dcb","url":"https://qwen-webui-prod.oss-accelerate.aliyuncs.com/person-1/23b2f3b1-2783-4832-8ec8-256819158dcb_upload_20261121_140637_b34446d8.png?Expires=1795270298&Signature=145f9c4e70a840618a4fa1e898d1056d","size":155,"expires_at":1795270298.0}', 1795270298, 1795269998.5471137);

INSERT INTO files VALUES ('file_6ab8f0e5ca50c9265886fe0a8983a726', '3414a0f1bbb1467b', 'uploads/2026-11/upload_20261121_140637_b34446d8.png', 'red.png', 'image/png', 155, 'b4fb98390ce0c3a0b5573132caf5dc3afb24dff8a09207f099125f1e2a988797', 1795269997.0730872);

INSERT INTO outputs VALUES ('out_f5a550bbb0cd1f7675d851ed24206644', 'task_779f9e70b1f9aa3400adcde9f729dcc6', 0, 'succeeded', 'asset_455561bf3126340e435717bac17122cb', NULL);
INSERT INTO outputs VALUES ('out_cd49ef2d962fc8eccb5c389f83fc954e', 'task_700e94f7bff8e9611794420488a95df9', 0, 'succeeded', 'asset_4845c97b973586f37dabe125ec122eb1', NULL);
INSERT INTO outputs VALUES ('out_51343b2c6a0a95852d790ce6d7314fb4', 'task_4192c5b86d35e6958f2a741a7637322f', 0, 'succeeded', 'asset_fb232cfd6e7658d070187fc51dab6147', NULL);
INSERT INTO outputs VALUES ('out_3d6930e6265c01ad61f9fa9aeaac15cc', 'task_f245e0f83ce34d38e75d0e6ea73dd2ff', 0, 'succeeded', 'asset_09f602034cc99915f810fb33f6d95a98', NULL);

INSERT INTO settings VALUES ('link_secret', '876c26302f60e15d15308d13aa84f5a61cb3729555ab460bb4c0f160e18d2d17');

INSERT INTO tasks VALUES ('task_779f9e70b1f9aa3400adcde9f729dcc6', '3414a0f1bbb1467b', 'i2v', 'sandbox-video', 'sandbox', 'sandbox/worn', 'succeeded', '{"type":"video","model":"sandbox-video","prompt":"let it fly","kind":"i2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[{"url":"object:uploads/2026-11/upload_20261121_140637_b34446d8.png","role":"first_frame","mime":"","name":"","size":0,"ref":null}],"params":{},"hints":{}}', '{"id":"sandbox-56f9f70f2e4bc12116e148ec","cursor":{"prompt":"let it fly","kind":"i2v","seed":1554876458,"width":128,"height":72,"seconds":1.0,"created":1795269997.2162335,"takes":0.3,"fault":"","first":"iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAYklEQVR4nO3PMQ0AIADAMEAI/qUgCxEcDcmqYJtn7/GzpQNeNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaBdQ3UBhOjh6FcAAAAASUVORK5CYII=","last":null}}', '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_97ec6f5711b610d17521771e"}', 100, 0, NULL, '{"input_tokens":0,"output_tokens":0,"cached_tokens":0,"reasoning_tokens":0,"images":0,"seconds":1.0,"characters":0,"estimated":false}', 'chat_9460b10520729cca9e37d8510e6effad', '[{"upstream":"sandbox","account":"sandbox/worn","outcome":"ok","seconds":0.002234074999933}]', 1795269997.204243, 1795269997.2111351, 1795269997.2162766, 1795269998.5308197, 1795271797.204243, 1795269998.1422656, NULL, 0, 0, '', false);
INSERT INTO tasks VALUES ('task_700e94f7bff8e9611794420488a95df9', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 'succeeded', '{"type":"video","model":"film","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":7,"inputs":[],"params":{},"hints":{}}', '{"id":"sandbox-42dc3176a3dd009afc61897a","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":7,"width":128,"height":72,"seconds":1.0,"created":1795269998.5631871,"takes":0.3,"fault":"","first":null,"last":null}}', '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_4ad1744650c5ffb4826f4084"}', 100, 0, NULL, '{"input_tokens":0,"output_tokens":0,"cached_tokens":0,"reasoning_tokens":0,"images":0,"seconds":1.0,"characters":0,"estimated":false}', 'chat_184e6e0a504ef83a77cb5a9f49b63e41', '[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.0002881880000131787}]', 1795269998.5552156, 1795269998.5590217, 1795269998.5632312, 1795269999.7969644, 1795271798.5552156, 1795269999.4675927, NULL, 0, 0, '', false);
INSERT INTO tasks VALUES ('task_4192c5b86d35e6958f2a741a7637322f', '6a7a5ff2770e6c97', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 'succeeded', '{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{}}', '{"id":"sandbox-1431d05829f409f527a76172","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795269999.814229,"takes":0.3,"fault":"","first":null,"last":null}}', '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_39a853973f57403461a441ca"}', 100, 0, NULL, '{"input_tokens":0,"output_tokens":0,"cached_tokens":0,"reasoning_tokens":0,"images":0,"seconds":1.0,"characters":0,"estimated":false}', 'chat_c25176ac3ec9c011e4318b329b875564', '[{"upstream":"sandbox","account":"sandbox/worn","outcome":"upstream_rate_limited","seconds":0.00022822999994787097},{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.0005970779998278886}]', 1795269999.8065963, 1795269999.81112, 1795269999.8142736, 1795270001.296115, 1795271799.8065963, 1795270000.8426387, NULL, 0, 0, '', false);
INSERT INTO tasks VALUES ('task_f245e0f83ce34d38e75d0e6ea73dd2ff', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 'succeeded', '{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{}}', '{"id":"sandbox-ecdc31ea9e64d9636f770b83","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795270001.318808,"takes":0.3,"fault":"","first":null,"last":null}}', '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_aed00b5af6bc794b2ab3b60d"}', 100, 0, NULL, '{"input_tokens":0,"output_tokens":0,"cached_tokens":0,"reasoning_tokens":0,"images":0,"seconds":1.0,"characters":0,"estimated":false}', 'chat_9460b10520729cca9e37d8510e6effad', '[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.0005468839999593911}]', 1795270001.3091846, 1795270001.315463, 1795270001.3188713, 1795270002.579294, 1795271801.3091846, 1795270002.2762187, NULL, 0, 0, '', false);
INSERT INTO tasks VALUES ('task_51a2f8bea80895d8409f4d1d3740b730', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 'failed', '{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"failed_job"}}', '{"id":"sandbox-823c26ddfa0ba084bf911b2f","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795270002.5924523,"takes":0.3,"fault":"failed_job","first":null,"last":null}}', '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_f66f218d64f65622d98f0227"}', 0, NULL, '{"code":"generation_failed","message":"the sandbox failed this job, as it was told to","type":"upstream_error","param":null,"status":502}', NULL, 'chat_198b002f2c4d5950f8f69ebcd5664cf7', '[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.00032726700010243803}]', 1795270002.5863369, 1795270002.590193, 1795270002.592491, 1795270003.550962, 1795271802.5863369, 1795270003.5458918, NULL, 0, 0, '', false);
INSERT INTO tasks VALUES ('task_19a5af62cdc81f0219b80278bdddfebf', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 'running', '{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"slow_job;seconds=600"}}', '{"id":"sandbox-277abcd335dfa58c65cdb146","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795270004.6025705,"takes":600.0,"fault":"slow_job","first":null,"last":null}}', '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_2fdf267076e68c58cf3e5402"}', 1.021119600534439, 593.8113963603973, NULL, NULL, 'chat_288a5cd2167662d0cc2ba4c7715d8a6d', '[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.0003329759999814996}]', 1795270004.5966787, 1795270004.6002407, 1795270004.6026084, NULL, 1795271804.5966787, 1795270011.8441439, NULL, 0, 0, '', false);
INSERT INTO tasks VALUES ('task_8402ac9100a9f5e61ed15b321d714b07', '6a7a5ff2770e6c97', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 'expired', '{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"expired_job"}}', '{"id":"sandbox-a8f30cbe90e0985e1c97ada8","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795270003.622092,"takes":0.3,"fault":"expired_job","first":null,"last":null}}', '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_2f9bc1e7269ef6766383d533"}', 0, NULL, '{"code":"expired","message":"the sandbox let this job expire, as it was told to","type":"upstream_error","param":null,"status":502}', NULL, 'chat_d7a4b9c3b44a475b1ceb05daca79798a', '[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.0003458650000993657}]', 1795270003.6159277, 1795270003.6198952, 1795270003.622144, 1795270004.549859, 1795271803.6159277, 1795270004.524264, NULL, 0, 0, '', false);
INSERT INTO tasks VALUES ('task_3bfde8b4cf7f70ae75b525a5f60d90a9', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', NULL, 'failed', '{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"lost_create"}}', NULL, '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_1cd5f0a17f017d3a727fd67e"}', 0, NULL, '{"code":"submit_outcome_unknown","message":"The upstream may or may not have made the job; it was not sent again, so that nothing is paid twice.","type":"upstream_error","param":null,"status":502}', NULL, 'chat_8b3a499f67e9a9662b0f9a4cb0c11749', '[{"upstream":"sandbox","account":"sandbox/good","outcome":"upstream_timeout","seconds":0.0002764020000540768}]', 1795270004.555232, 1795270004.5585945, NULL, 1795270004.5606623, 1795271804.555232, 1795270004.555232, NULL, 0, 0, '', false);
INSERT INTO tasks VALUES ('task_7fdf17312df7fa1e34df85275cbedddd', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', NULL, 'failed', '{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"refused"}}', NULL, '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_7173233abdec00262110bbc2"}', 0, NULL, '{"code":"content_policy_violation","message":"The content policy of the upstream refused this request.","type":"invalid_request_error","param":"prompt","status":400}', NULL, 'chat_3eaf103f6632ea72e1af912b5ed19dca', '[{"upstream":"sandbox","account":"sandbox/good","outcome":"content_policy_violation","seconds":0.00010019900014412997}]', 1795270004.5636241, 1795270004.5663815, NULL, 1795270004.5681615, 1795271804.5636241, 1795270004.5636241, NULL, 0, 0, '', false);
INSERT INTO tasks VALUES ('task_396854f979bf8380e484e527ab7962cc', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 'cancelled', '{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"slow_job;seconds=600"}}', '{"id":"sandbox-b4ebbfacf308a64c1eef7fa3","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795270004.5763047,"takes":600.0,"fault":"slow_job","first":null,"last":null}}', '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_83a65df301573b53f4fa189e"}', 0, 0.3, NULL, NULL, 'chat_92cb0a1f31c64b0d39112507b0c11a0d', '[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.00033589000008760195}]', 1795270004.5709383, 1795270004.574244, 1795270004.5763426, 1795270004.5911508, 1795271804.5709383, 1795270005.6417499, NULL, 0, 0, '', true);
INSERT INTO tasks VALUES ('task_4baac0a411af4e4c4630fa38b1f752ae', '3414a0f1bbb1467b', 't2v', 'narrow-video', 'narrow', NULL, 'submitting', '{"type":"video","model":"narrow-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"silence;seconds=600"}}', NULL, '{"candidates":[["narrow","narrow-video"]],"estimate":0.3,"request_id":"req_680c50590632339da7b18f94"}', 0, 0.3, NULL, NULL, 'chat_d4ec5fe87df187ef470168a2839ab394', '[]', 1795270007.8089583, 1795270007.812921, NULL, NULL, 1795271807.8089583, 1795270007.8089583, 'fd351681bc3dee6a', 1795270667.8111584, 0, '', false);
INSERT INTO tasks VALUES ('task_f6c70e4e2cd82684d935f1d709d3e598', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', NULL, 'submitting', '{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"silence;seconds=600"}}', NULL, '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_491f962e413972fe48424ec7"}', 0, 0.3, NULL, NULL, 'chat_f9a52eb68c12db40f5e435ba5b92fc6f', '[]', 1795270008.204082, 1795270008.2117991, NULL, NULL, 1795271808.204082, 1795270008.204082, 'fd351681bc3dee6a', 1795270668.20682, 0, '', true);
INSERT INTO tasks VALUES ('task_1890da8e0f47416ab34476f5d408f2ac', '6a7a5ff2770e6c97', 't2v', 'narrow-video', 'narrow', NULL, 'queued', '{"type":"video","model":"narrow-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{}}', NULL, '{"candidates":[["narrow","narrow-video"]],"estimate":0.3,"request_id":"req_7f7675084d9a39c7db71e11b"}', 0, 1, NULL, NULL, 'chat_c3cad6bfb8a56c95431e939880d7c96b', '[]', 1795270007.8599718, 1795270009.916679, NULL, NULL, 1795271807.8599718, 1795270010.9191413, NULL, 0, 0, '', false);
INSERT INTO tasks VALUES ('task_d6acb07b93d5247b99d266e880a8015f', '6a7a5ff2770e6c97', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 'running', '{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"slow_job;seconds=600"}}', '{"id":"sandbox-9efbd055d0d38343856a5218","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795270004.6170707,"takes":600.0,"fault":"slow_job","first":null,"last":null}}', '{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_4130d509cbbafb952d37ee42"}', 1.0138524556159971, 593.8554396629333, NULL, NULL, 'chat_f9a25e5f175ba478912ac4df75efee41', '[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.00033561999998710235}]', 1795270004.6123574, 1795270004.6151085, 1795270004.6171074, NULL, 1795271804.6123574, 1795270011.7635875, NULL, 0, 0, '', false);

INSERT INTO turns VALUES ('resp_efa2abafef049d4fc8bed7067ddb61df', 'chat_97a6c7e0f5a90e182810528c68b38e55', '3414a0f1bbb1467b', NULL, '[{"role":"user","content":"My name is Ada Zimmermann."}]', 'Hello from the site.', 'qwen3-max', 'qwen', 'qwen/a1', '{"chat_id":"89f64719-5689-4cf5-871e-f9d3ab3c33e0","parent_id":"f251ecfa-4d73-41d1-a73b-ac595fe544b9"}', 1795269996.735196);
INSERT INTO turns VALUES ('resp_a6b6505e7d905665ad16823b7d42360b', 'chat_97a6c7e0f5a90e182810528c68b38e55', '3414a0f1bbb1467b', 'resp_efa2abafef049d4fc8bed7067ddb61df', '[{"role":"user","content":"What is my name?"}]', 'Hello from the site.', 'qwen3-max', 'qwen', 'qwen/a1', '{"chat_id":"89f64719-5689-4cf5-871e-f9d3ab3c33e0","parent_id":"e80bc61b-3b0e-4772-8f76-225d37e02742"}', 1795269996.7663085);
INSERT INTO turns VALUES ('resp_9c5e474c1120a4294c88b0f05ca92dc6', 'chat_89a3d5c87af047f656466840cfd47e0f', '3414a0f1bbb1467b', NULL, '[{"role":"user","content":"Hello, do you keep chats?"}]', 'Hello from the site.', 'qwen3-max', 'qwen', 'qwen/a1', '{"chat_id":"7d46267a-f6ac-46a8-955b-cc7dfa142907","parent_id":"31a3e328-c5ed-4a59-b7fe-9bb8979bf15c"}', 1795269996.775108);
INSERT INTO turns VALUES ('resp_12492acf84f13ddb240e3b24739d86da', 'chat_89a3d5c87af047f656466840cfd47e0f', '3414a0f1bbb1467b', 'resp_9c5e474c1120a4294c88b0f05ca92dc6', '[{"role":"user","content":"And now?"}]', 'Hello from the site.', 'qwen3-max', 'qwen', 'qwen/a1', '{"chat_id":"7d46267a-f6ac-46a8-955b-cc7dfa142907","parent_id":"9724a0ee-302f-4154-8dd7-95e0ccfe0e7e"}', 1795269996.7850506);
INSERT INTO turns VALUES ('resp_2e4988456891e1ba69258d9f13f8cc5d', 'chat_d14322d4f9edc237ca016e9bf5c3b45f', '3414a0f1bbb1467b', NULL, '[{"role":"user","content":"a quiet house"}]', '[image asset_7df23b50d0e712a3fe2033dd7b38bdad]
', 'sandbox-image', 'sandbox', 'sandbox/good', NULL, 1795269997.198823);
INSERT INTO turns VALUES ('task_779f9e70b1f9aa3400adcde9f729dcc6', 'chat_9460b10520729cca9e37d8510e6effad', '3414a0f1bbb1467b', NULL, '[{"role":"user","content":[{"type":"text","text":"let it fly"},{"type":"image_url","image_url":{"url":"http://127.0.0.1:36775/files/AGsC9u0meiMV1sX9zukf3mT5RN-5/uploads/2026-11/upload_20261121_140637_b34446d8.png"}}]}]', '[video task_779f9e70b1f9aa3400adcde9f729dcc6]', 'sandbox-video', 'sandbox', 'sandbox/worn', NULL, 1795269997.2357624);
INSERT INTO turns VALUES ('resp_f157d981cfb8be89983fbf66127600e8', 'chat_087799fff1d5490218cce8d614c3531c', '3414a0f1bbb1467b', NULL, '[{"role":"user","content":[{"type":"text","text":"what is on it?"},{"type":"image_url","image_url":{"url":"http://127.0.0.1:36775/files/AGsC9u0meiMV1sX9zukf3mT5RN-5/uploads/2026-11/upload_20261121_140637_b34446d8.png"}}]}]', 'Hello from the site.', 'qwen3-max', 'qwen', 'qwen/a1', '{"chat_id":"0cdb101c-fc36-4fcf-9f6a-f1f294e39d82","parent_id":"b8500791-af5c-43c2-a027-619366c0b9da"}', 1795269998.5512035);
INSERT INTO turns VALUES ('task_700e94f7bff8e9611794420488a95df9', 'chat_184e6e0a504ef83a77cb5a9f49b63e41', '3414a0f1bbb1467b', NULL, '[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]', '[video task_700e94f7bff8e9611794420488a95df9]', 'sandbox-video', 'sandbox', 'sandbox/good', NULL, 1795269998.569139);
INSERT INTO turns VALUES ('task_4192c5b86d35e6958f2a741a7637322f', 'chat_c25176ac3ec9c011e4318b329b875564', '6a7a5ff2770e6c97', NULL, '[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]', '[video task_4192c5b86d35e6958f2a741a7637322f]', 'sandbox-video', 'sandbox', 'sandbox/good', NULL, 1795269999.8223839);
INSERT INTO turns VALUES ('task_f245e0f83ce34d38e75d0e6ea73dd2ff', 'chat_9460b10520729cca9e37d8510e6effad', '3414a0f1bbb1467b', 'task_779f9e70b1f9aa3400adcde9f729dcc6', '[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]', '[video task_f245e0f83ce34d38e75d0e6ea73dd2ff]', 'sandbox-video', 'sandbox', 'sandbox/good', NULL, 1795270001.3294818);
INSERT INTO turns VALUES ('task_51a2f8bea80895d8409f4d1d3740b730', 'chat_198b002f2c4d5950f8f69ebcd5664cf7', '3414a0f1bbb1467b', NULL, '[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]', '[video task_51a2f8bea80895d8409f4d1d3740b730]', 'sandbox-video', 'sandbox', 'sandbox/good', NULL, 1795270002.5981975);
INSERT INTO turns VALUES ('task_8402ac9100a9f5e61ed15b321d714b07', 'chat_d7a4b9c3b44a475b1ceb05daca79798a', '6a7a5ff2770e6c97', NULL, '[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]', '[video task_8402ac9100a9f5e61ed15b321d714b07]', 'sandbox-video', 'sandbox', 'sandbox/good', NULL, 1795270003.6307325);
INSERT INTO turns VALUES ('task_396854f979bf8380e484e527ab7962cc', 'chat_92cb0a1f31c64b0d39112507b0c11a0d', '3414a0f1bbb1467b', NULL, '[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]', '[video task_396854f979bf8380e484e527ab7962cc]', 'sandbox-video', 'sandbox', 'sandbox/good', NULL, 1795270004.5822105);
INSERT INTO turns VALUES ('task_19a5af62cdc81f0219b80278bdddfebf', 'chat_288a5cd2167662d0cc2ba4c7715d8a6d', '3414a0f1bbb1467b', NULL, '[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]', '[video task_19a5af62cdc81f0219b80278bdddfebf]', 'sandbox-video', 'sandbox', 'sandbox/good', NULL, 1795270004.608795);
INSERT INTO turns VALUES ('task_d6acb07b93d5247b99d266e880a8015f', 'chat_f9a25e5f175ba478912ac4df75efee41', '6a7a5ff2770e6c97', NULL, '[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]', '[video task_d6acb07b93d5247b99d266e880a8015f]', 'sandbox-video', 'sandbox', 'sandbox/good', NULL, 1795270004.622972);
INSERT INTO turns VALUES ('task_1890da8e0f47416ab34476f5d408f2ac', 'chat_c3cad6bfb8a56c95431e939880d7c96b', '6a7a5ff2770e6c97', NULL, '[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]', '[video task_1890da8e0f47416ab34476f5d408f2ac]', 'narrow-video', 'narrow', '', NULL, 1795270007.8833127);

INSERT INTO usage VALUES (1, 1795269996.7351835, 'req_f31b6e04a1cd47447f09cca2', '3414a0f1bbb1467b', 't2t', 'qwen3-max', 'qwen', 'qwen/a1', 200, 'ok', 11, 7, 0, 0, 0.003938835999861112, 1, NULL);
INSERT INTO usage VALUES (2, 1795269996.7662919, 'req_ed02265e83cdba82661cb339', '3414a0f1bbb1467b', 't2t', 'qwen3-max', 'qwen', 'qwen/a1', 200, 'ok', 11, 7, 0, 0, 0.002279423000118186, 1, NULL);
INSERT INTO usage VALUES (3, 1795269996.7750955, 'req_f04202c68518a55efe7e1291', '3414a0f1bbb1467b', 't2t', 'qwen3-max', 'qwen', 'qwen/a1', 200, 'ok', 11, 7, 0, 0, 0.002930191000132254, 1, NULL);
INSERT INTO usage VALUES (4, 1795269996.785037, 'req_71bea9194e7d6f523fd4c91e', '3414a0f1bbb1467b', 't2t', 'qwen3-max', 'qwen', 'qwen/a1', 200, 'ok', 11, 7, 0, 0, 0.002154036000092674, 1, NULL);
INSERT INTO usage VALUES (5, 1795269996.8008988, 'req_8bb73684914121b28cacc962', '6a7a5ff2770e6c97', 't2t', 'sandbox-chat', 'sandbox', 'sandbox/worn', 200, 'ok', 2, 53, 0, 0, 0.006680412999912733, 1, NULL);
INSERT INTO usage VALUES (6, 1795269996.8057168, 'req_05ba86258b1faae6e4cf25cc', '6a7a5ff2770e6c97', 't2t', 'sandbox-chat', 'sandbox', 'sandbox/good', 400, 'content_policy_violation', 0, 0, 0, 0, 0.0002305830000750575, 1, NULL);
INSERT INTO usage VALUES (7, 1795269996.8090491, 'req_7ae88295abe7e5b22d4f41c0', '3414a0f1bbb1467b', 'embedding', 'sandbox-embedding', 'sandbox', 'sandbox/worn', 200, 'ok', 2, 0, 0, 0, 0.001305423000076189, 1, NULL);
INSERT INTO usage VALUES (8, 1795269996.9620872, 'req_5b6019255cc07ad867fe512c', '6a7a5ff2770e6c97', 't2i', 'sandbox-image', 'sandbox', 'sandbox/good', 200, 'ok', 3, 8, 2, 0, 0.15152416199998697, 1, NULL);
INSERT INTO usage VALUES (9, 1795269997.054373, 'req_87a2ba88dfd259bacaed46e6', '3414a0f1bbb1467b', 'tts', 'sandbox-speech', 'sandbox', 'sandbox/worn', 200, 'ok', 0, 0, 0, 0, 0.0902905139998893, 1, NULL);
INSERT INTO usage VALUES (10, 1795269997.1987991, 'req_6533ea465a776387dbdd39e5', '3414a0f1bbb1467b', 't2i', 'sandbox-image', 'sandbox', 'sandbox/good', 200, 'ok', 4, 4, 1, 0, 0.11837665699999889, 1, NULL);
INSERT INTO usage VALUES (11, 1795269998.5346375, 'req_97ec6f5711b610d17521771e', '3414a0f1bbb1467b', 'i2v', 'sandbox-video', 'sandbox', 'sandbox/worn', 200, 'succeeded', 0, 0, 0, 1, 1.3265767097473145, 1, 'task_779f9e70b1f9aa3400adcde9f729dcc6');
INSERT INTO usage VALUES (12, 1795269998.5511906, 'req_ffdcf099b7efecc4b6847cc6', '3414a0f1bbb1467b', 't2t', 'qwen3-max', 'qwen', 'qwen/a1', 200, 'ok', 11, 7, 0, 0, 0.011223113999903944, 1, NULL);
INSERT INTO usage VALUES (13, 1795269999.8012154, 'req_4ad1744650c5ffb4826f4084', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 200, 'succeeded', 0, 0, 0, 1, 1.2417488098144531, 1, 'task_700e94f7bff8e9611794420488a95df9');
INSERT INTO usage VALUES (14, 1795270001.3002594, 'req_39a853973f57403461a441ca', '6a7a5ff2770e6c97', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 200, 'succeeded', 0, 0, 0, 1, 1.489518642425537, 2, 'task_4192c5b86d35e6958f2a741a7637322f');
INSERT INTO usage VALUES (15, 1795270002.5824397, 'req_aed00b5af6bc794b2ab3b60d', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 200, 'succeeded', 0, 0, 0, 1, 1.2701094150543213, 1, 'task_f245e0f83ce34d38e75d0e6ea73dd2ff');
INSERT INTO usage VALUES (16, 1795270003.5539262, 'req_f66f218d64f65622d98f0227', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 502, 'generation_failed', 0, 0, 0, 0, 0.9646251201629639, 1, 'task_51a2f8bea80895d8409f4d1d3740b730');
INSERT INTO usage VALUES (17, 1795270004.5527987, 'req_2f9bc1e7269ef6766383d533', '6a7a5ff2770e6c97', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 502, 'expired', 0, 0, 0, 0, 0.9339313507080078, 1, 'task_8402ac9100a9f5e61ed15b321d714b07');
INSERT INTO usage VALUES (18, 1795270004.560596, 'req_1cd5f0a17f017d3a727fd67e', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 504, 'upstream_timeout', 0, 0, 0, 0, 0.00032167900008062134, 1, 'task_3bfde8b4cf7f70ae75b525a5f60d90a9');
INSERT INTO usage VALUES (19, 1795270004.568113, 'req_7173233abdec00262110bbc2', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 400, 'content_policy_violation', 0, 0, 0, 0, 0.00014138100004856824, 1, 'task_7fdf17312df7fa1e34df85275cbedddd');
INSERT INTO usage VALUES (20, 1795270004.5941384, 'req_83a65df301573b53f4fa189e', '3414a0f1bbb1467b', 't2v', 'sandbox-video', 'sandbox', 'sandbox/good', 200, 'cancelled', 0, 0, 0, 0, 0.020212411880493164, 1, 'task_396854f979bf8380e484e527ab7962cc');
INSERT INTO usage VALUES (21, 1795270007.8780942, 'req_7f7675084d9a39c7db71e11b', '6a7a5ff2770e6c97', 't2v', 'narrow-video', 'narrow', '', 503, 'no_account_available', 0, 0, 0, 0, 0.00024101899998640874, 1, 'task_1890da8e0f47416ab34476f5d408f2ac');
INSERT INTO usage VALUES (22, 1795270008.89007, 'req_7f7675084d9a39c7db71e11b', '6a7a5ff2770e6c97', 't2v', 'narrow-video', 'narrow', '', 503, 'no_account_available', 0, 0, 0, 0, 9.167600001092069e-05, 1, 'task_1890da8e0f47416ab34476f5d408f2ac');
INSERT INTO usage VALUES (23, 1795270009.9191136, 'req_7f7675084d9a39c7db71e11b', '6a7a5ff2770e6c97', 't2v', 'narrow-video', 'narrow', '', 503, 'no_account_available', 0, 0, 0, 0, 8.943300008468213e-05, 1, 'task_1890da8e0f47416ab34476f5d408f2ac');

SELECT pg_catalog.setval('usage_id_seq', 23, true);

ALTER TABLE ONLY alembic_version
    ADD CONSTRAINT alembic_version_pkey PRIMARY KEY (version_num);

ALTER TABLE ONLY assets
    ADD CONSTRAINT pk_assets PRIMARY KEY (id);

ALTER TABLE ONLY chats
    ADD CONSTRAINT pk_chats PRIMARY KEY (id);

ALTER TABLE ONLY file_copies
    ADD CONSTRAINT pk_file_copies PRIMARY KEY (sha256, account_id);

ALTER TABLE ONLY files
    ADD CONSTRAINT pk_files PRIMARY KEY (id);

ALTER TABLE ONLY outputs
    ADD CONSTRAINT pk_outputs PRIMARY KEY (id);

ALTER TABLE ONLY settings
    ADD CONSTRAINT pk_settings PRIMARY KEY (key);

ALTER TABLE ONLY tasks
    ADD CONSTRAINT pk_tasks PRIMARY KEY (id);

ALTER TABLE ONLY turns
    ADD CONSTRAINT pk_turns PRIMARY KEY (id);

ALTER TABLE ONLY usage
    ADD CONSTRAINT pk_usage PRIMARY KEY (id);

ALTER TABLE ONLY outputs
    ADD CONSTRAINT uq_outputs_task_id_position UNIQUE (task_id, "position");

CREATE INDEX ix_assets_owner_created_at ON assets USING btree (owner, created_at);

CREATE INDEX ix_assets_owner_family_created_at ON assets USING btree (owner, family, created_at);

CREATE INDEX ix_assets_task_id ON assets USING btree (task_id);

CREATE INDEX ix_chats_owner_updated_at ON chats USING btree (owner, updated_at);

CREATE INDEX ix_files_owner_created_at ON files USING btree (owner, created_at);

CREATE INDEX ix_tasks_owner_created_at ON tasks USING btree (owner, created_at);

CREATE INDEX ix_tasks_state_next_poll_at ON tasks USING btree (state, next_poll_at);

CREATE INDEX ix_turns_chat_id_created_at ON turns USING btree (chat_id, created_at);

CREATE INDEX ix_usage_at ON usage USING btree (at);

ALTER TABLE ONLY outputs
    ADD CONSTRAINT fk_outputs_task_id FOREIGN KEY (task_id) REFERENCES tasks(id) ON DELETE CASCADE;

ALTER TABLE ONLY turns
    ADD CONSTRAINT fk_turns_chat_id FOREIGN KEY (chat_id) REFERENCES chats(id) ON DELETE CASCADE;
