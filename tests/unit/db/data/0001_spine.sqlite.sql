-- What mediagate at 74baef4, whose schema is 0001_spine, left in a SQLite file when it was ended by kill -9
-- while it had tasks in every state: `sqlite3.Connection.iterdump` of it.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO "alembic_version" VALUES('0001_spine');
CREATE TABLE assets (
	id TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	family TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	mime TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	sha256 TEXT NOT NULL, 
	width INTEGER, 
	height INTEGER, 
	seconds DOUBLE, 
	filename TEXT NOT NULL, 
	prompt TEXT NOT NULL, 
	model TEXT NOT NULL, 
	upstream TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	task_id TEXT, 
	source_module TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	metadata TEXT NOT NULL, 
	CONSTRAINT pk_assets PRIMARY KEY (id)
);
INSERT INTO "assets" VALUES('asset_f2b13c8ee27d6db71d29250868b29354','6a7a5ff2770e6c97','image','images/2026-11/sandbox-image_20261121_140554_f2b13c8e.png','image/png',5707,'72796b27910a25b7f7b1681d00e538e14703132386f860b2ef22d9647d811398',64,64,NULL,'sandbox-image_20261121_140554_f2b13c8e.png','a red fox','sandbox-image','sandbox','t2i',NULL,'api',1.7952699545237295628e+09,'{}');
INSERT INTO "assets" VALUES('asset_13b80324e70528a367da19593a1a7567','6a7a5ff2770e6c97','image','images/2026-11/sandbox-image_20261121_140554_13b80324.png','image/png',5641,'628702efbef129d02c0958f6e465f6a745cf7b699a468779d13b510107c45c74',64,64,NULL,'sandbox-image_20261121_140554_13b80324.png','a red fox','sandbox-image','sandbox','t2i',NULL,'api',1.79526995454019236558e+09,'{}');
INSERT INTO "assets" VALUES('asset_ba8c3b1c9b06640a2074d05b87796698','3414a0f1bbb1467b','audio','audio/2026-11/sandbox-speech_20261121_140554_ba8c3b1c.mp3','audio/mpeg',7124,'730981cf998aa4642bc05163a4260210a86e14c2435c26fc882df693256b3400',NULL,NULL,0.8,'sandbox-speech_20261121_140554_ba8c3b1c.mp3','Good day.','sandbox-speech','sandbox','tts',NULL,'api',1.7952699546076672077e+09,'{}');
INSERT INTO "assets" VALUES('asset_1a33f53cf643b782a53e80cde2018c33','3414a0f1bbb1467b','image','images/2026-11/sandbox-image_20261121_140554_1a33f53c.png','image/png',5570,'a2f43f8d44b7562fda707086f03d8d58d04255cb494ad58b69bc82e548c665a3',64,64,NULL,'sandbox-image_20261121_140554_1a33f53c.png','a quiet house','sandbox-image','sandbox','t2i',NULL,'api',1.79526995474114871029e+09,'{}');
INSERT INTO "assets" VALUES('asset_628dd2dafd5da69bb335e093882cab27','3414a0f1bbb1467b','video','videos/2026-11/sandbox-video_20261121_140555_628dd2da.mp4','video/mp4',35107,'9ea62ba40ac1bee05daaf244e0b82a84af55ddc6d5b07f59b144619058033d7a',128,72,1.0,'sandbox-video_20261121_140555_628dd2da.mp4','let it fly','sandbox-video','sandbox','i2v','task_53ac883115768942af9c1b6e0604bc49','api',1.7952699559868543148e+09,'{}');
INSERT INTO "assets" VALUES('asset_60b4fb2cc1017237db71727ccf1bbcb3','3414a0f1bbb1467b','video','videos/2026-11/sandbox-video_20261121_140557_60b4fb2c.mp4','video/mp4',31175,'8bb5c6113c3e1a175cdc78c53c8788964a4b7bba318c522fd6bf80d6d2d71fa8',128,72,1.0,'sandbox-video_20261121_140557_60b4fb2c.mp4','waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊','sandbox-video','sandbox','t2v','task_cdb5fd1c7eea0ec1e1b12d19c0a2cb61','api',1.79526995723339605334e+09,'{}');
INSERT INTO "assets" VALUES('asset_472dc8ffecfd2a193c71b94921f2f7dd','6a7a5ff2770e6c97','video','videos/2026-11/sandbox-video_20261121_140558_472dc8ff.mp4','video/mp4',31583,'9587f83bcebe76644115f7399a2023934d3f2f8ee687831893a9366f310be2ac',128,72,1.0,'sandbox-video_20261121_140558_472dc8ff.mp4','waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊','sandbox-video','sandbox','t2v','task_52cec4870644796baaca0dd42f26dd00','api',1.79526995847496175767e+09,'{}');
INSERT INTO "assets" VALUES('asset_56e2a04291eaabb432f27e0f48e91c6a','3414a0f1bbb1467b','video','videos/2026-11/sandbox-video_20261121_140559_56e2a042.mp4','video/mp4',31583,'9587f83bcebe76644115f7399a2023934d3f2f8ee687831893a9366f310be2ac',128,72,1.0,'sandbox-video_20261121_140559_56e2a042.mp4','waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊','sandbox-video','sandbox','t2v','task_f8a130e4bc2da5ce368535cfb8281e68','api',1.79526995984471869462e+09,'{}');
CREATE TABLE chats (
	id TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	name TEXT NOT NULL, 
	model TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	upstream TEXT, 
	account_id TEXT, 
	upstream_chat TEXT, 
	created_at DOUBLE NOT NULL, 
	updated_at DOUBLE NOT NULL, 
	CONSTRAINT pk_chats PRIMARY KEY (id)
);
INSERT INTO "chats" VALUES('chat_6e0340bdb93e688507e748c3a2f080bd','3414a0f1bbb1467b','','qwen3-max','t2t',NULL,NULL,NULL,1.79526995434442138673e+09,1.7952699543570296764e+09);
INSERT INTO "chats" VALUES('chat_5552b02f573fe8d16f022566aeb1405b','3414a0f1bbb1467b','','qwen3-max','t2t',NULL,NULL,NULL,1.79526995436634111405e+09,1.79526995437556028366e+09);
INSERT INTO "chats" VALUES('chat_1f917c3a3d810f8fbc64509369e0a408','3414a0f1bbb1467b','','sandbox-image','t2t',NULL,NULL,NULL,1.7952699547452971935e+09,1.79526995474500131611e+09);
INSERT INTO "chats" VALUES('chat_5a41de64e3874feb1b67b33e569d8de0','3414a0f1bbb1467b','','sandbox-video','t2t',NULL,NULL,NULL,1.79526995476569032673e+09,1.79526995849423480033e+09);
INSERT INTO "chats" VALUES('chat_36cdc93c16d1ad040a6cc21f0164a9f5','3414a0f1bbb1467b','','qwen3-max','t2t',NULL,NULL,NULL,1.79526995601221275324e+09,1.7952699560118875504e+09);
INSERT INTO "chats" VALUES('chat_dcbfae24c5a1b809037befb5e568eee4','3414a0f1bbb1467b','','sandbox-video','t2t',NULL,NULL,NULL,1.79526995602579879764e+09,1.79526995602484560014e+09);
INSERT INTO "chats" VALUES('chat_babbb046ed04ec20e9c9c657803f2ca8','6a7a5ff2770e6c97','','sandbox-video','t2t',NULL,NULL,NULL,1.79526995725183558458e+09,1.79526995725082206718e+09);
INSERT INTO "chats" VALUES('chat_d8e5f3ae8e0c4f14b7261c541dc6482d','3414a0f1bbb1467b','','sandbox-video','t2t',NULL,NULL,NULL,1.79526995986574077609e+09,1.79526995986471271521e+09);
INSERT INTO "chats" VALUES('chat_169dad7224fdd3a886fa83b2bb9e9c0e','6a7a5ff2770e6c97','','sandbox-video','t2t',NULL,NULL,NULL,1.79526996093020391469e+09,1.79526996092923665044e+09);
INSERT INTO "chats" VALUES('chat_49b924ff8c231438e4a56acca00d6557','3414a0f1bbb1467b','','sandbox-video','t2t',NULL,NULL,NULL,1.79526996188872027399e+09,1.79526996188782572748e+09);
INSERT INTO "chats" VALUES('chat_f322b3779ae5143bdeeaaf055cf00be8','3414a0f1bbb1467b','','sandbox-video','t2t',NULL,NULL,NULL,1.79526996191057157514e+09,1.79526996190958213804e+09);
INSERT INTO "chats" VALUES('chat_8044aafdc1a37a4c247ed68285feb9f4','6a7a5ff2770e6c97','','sandbox-video','t2t',NULL,NULL,NULL,1.79526996192370557788e+09,1.79526996192277145383e+09);
INSERT INTO "chats" VALUES('chat_dc613d1de2e730e7650faf653c937342','6a7a5ff2770e6c97','','narrow-video','t2t',NULL,NULL,NULL,1.79526996505920624731e+09,1.79526996505830764767e+09);
CREATE TABLE file_copies (
	sha256 TEXT NOT NULL, 
	account_id TEXT NOT NULL, 
	ref TEXT NOT NULL, 
	expires_at DOUBLE, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_file_copies PRIMARY KEY (sha256, account_id)
);
INSERT INTO "file_copies" VALUES('b4fb98390ce0c3a0b5573132caf5dc3afb24dff8a09207f099125f1e2a988797','qwen/a1','{"type":"image","name":"upload_20261121_140554_a9415059.png","file_type":"image/png","showType":"image","file_class":"vision","status":"uploaded","id":"dde6158c-2385-4fc5-9c0a-f9b9b0c6acea","url":"https://qwen-webui-prod.oss-accelerate.aliyuncs.com/person-1/dde6158c-2385-4fc5-9c0a-f9b9b0c6acea_upload_20261121_140554_a9415059.png?Expires=1795270256&Signature=2e8ce7f290f8402c9a10d73b992837af","size":155,"expires_at":1795270256.0}',1795270256.0,1.79526995600865483279e+09);
CREATE TABLE files (
	id TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	name TEXT NOT NULL, 
	mime TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	sha256 TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_files PRIMARY KEY (id)
);
INSERT INTO "files" VALUES('file_436dcfc58ace375489e22f6be21d263f','3414a0f1bbb1467b','uploads/2026-11/upload_20261121_140554_a9415059.png','red.png','image/png',155,'b4fb98390ce0c3a0b5573132caf5dc3afb24dff8a09207f099125f1e2a988797',1.79526995462459278106e+09);
CREATE TABLE outputs (
	id TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	asset_id TEXT, 
	error TEXT, 
	CONSTRAINT pk_outputs PRIMARY KEY (id), 
	CONSTRAINT uq_outputs_task_id_position UNIQUE (task_id, position), 
	CONSTRAINT fk_outputs_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
INSERT INTO "outputs" VALUES('out_09a9a63c584408d142c74e6cbc9ea5f9','task_53ac883115768942af9c1b6e0604bc49',0,'succeeded','asset_628dd2dafd5da69bb335e093882cab27',NULL);
INSERT INTO "outputs" VALUES('out_e58c4e112c95de91c2ed9ba58df10c71','task_cdb5fd1c7eea0ec1e1b12d19c0a2cb61',0,'succeeded','asset_60b4fb2cc1017237db71727ccf1bbcb3',NULL);
INSERT INTO "outputs" VALUES('out_a9b309ff8f18da1bf5e4f06f3799a651','task_52cec4870644796baaca0dd42f26dd00',0,'succeeded','asset_472dc8ffecfd2a193c71b94921f2f7dd',NULL);
INSERT INTO "outputs" VALUES('out_f919e8c78af8a30785bcc61e490dd9d4','task_f8a130e4bc2da5ce368535cfb8281e68',0,'succeeded','asset_56e2a04291eaabb432f27e0f48e91c6a',NULL);
CREATE TABLE settings (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_settings PRIMARY KEY ("key")
);
INSERT INTO "settings" VALUES('link_secret','39842b7e4472244ee52d896ee0e801b4462e73edc61b732368aaada1aab2d5c9');
CREATE TABLE tasks (
	id TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	model TEXT NOT NULL, 
	upstream TEXT NOT NULL, 
	account_id TEXT, 
	state TEXT NOT NULL, 
	request TEXT NOT NULL, 
	job TEXT, 
	params TEXT NOT NULL, 
	progress DOUBLE NOT NULL, 
	eta DOUBLE, 
	error TEXT, 
	usage TEXT, 
	chat_id TEXT, 
	attempts TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	submitted_at DOUBLE, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	deadline DOUBLE NOT NULL, 
	next_poll_at DOUBLE NOT NULL, 
	lease_owner TEXT, 
	lease_until DOUBLE DEFAULT 0 NOT NULL, 
	polls INTEGER DEFAULT 0 NOT NULL, 
	native TEXT NOT NULL, 
	cancel_requested BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_tasks PRIMARY KEY (id)
);
INSERT INTO "tasks" VALUES('task_53ac883115768942af9c1b6e0604bc49','3414a0f1bbb1467b','i2v','sandbox-video','sandbox','sandbox/worn','succeeded','{"type":"video","model":"sandbox-video","prompt":"let it fly","kind":"i2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[{"url":"object:uploads/2026-11/upload_20261121_140554_a9415059.png","role":"first_frame","mime":"","name":"","size":0,"ref":null}],"params":{},"hints":{}}','{"id":"sandbox-1479a693a14a3f322d50dbc3","cursor":{"prompt":"let it fly","kind":"i2v","seed":1554876458,"width":128,"height":72,"seconds":1.0,"created":1795269954.757944,"takes":0.3,"fault":"","first":"iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAYklEQVR4nO3PMQ0AIADAMEAI/qUgCxEcDcmqYJtn7/GzpQNeNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaBdQ3UBhOjh6FcAAAAASUVORK5CYII=","last":null}}','{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_b928ae7c5763c17bf94bd379"}',100.0,0.0,NULL,'{"input_tokens":0,"output_tokens":0,"cached_tokens":0,"reasoning_tokens":0,"images":0,"seconds":1.0,"characters":0,"estimated":false}','chat_5a41de64e3874feb1b67b33e569d8de0','[{"upstream":"sandbox","account":"sandbox/worn","outcome":"ok","seconds":0.0021526940001876937}]',1.79526995474879264829e+09,1.7952699547537026405e+09,1.79526995475798058516e+09,1.79526995599066042895e+09,1.79527175474879264831e+09,1.79526995570510244371e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_cdb5fd1c7eea0ec1e1b12d19c0a2cb61','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good','succeeded','{"type":"video","model":"film","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":7,"inputs":[],"params":{},"hints":{}}','{"id":"sandbox-e922ab945206d52d176e129b","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":7,"width":128,"height":72,"seconds":1.0,"created":1795269956.0200498,"takes":0.3,"fault":"","first":null,"last":null}}','{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_4f6308571c4a87f8867db943"}',100.0,0.0,NULL,'{"input_tokens":0,"output_tokens":0,"cached_tokens":0,"reasoning_tokens":0,"images":0,"seconds":1.0,"characters":0,"estimated":false}','chat_dcbfae24c5a1b809037befb5e568eee4','[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.0002459259999341157}]',1.79526995601523113249e+09,1.79526995601825737954e+09,1.79526995602008700375e+09,1.79526995723687601089e+09,1.79527175601523113247e+09,1.7952699569750647545e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_52cec4870644796baaca0dd42f26dd00','6a7a5ff2770e6c97','t2v','sandbox-video','sandbox','sandbox/good','succeeded','{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{}}','{"id":"sandbox-825cc179713b96f3e0592389","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795269957.2463212,"takes":0.3,"fault":"","first":null,"last":null}}','{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_f26c48bb556925d7b57f371f"}',100.0,0.0,NULL,'{"input_tokens":0,"output_tokens":0,"cached_tokens":0,"reasoning_tokens":0,"images":0,"seconds":1.0,"characters":0,"estimated":false}','chat_babbb046ed04ec20e9c9c657803f2ca8','[{"upstream":"sandbox","account":"sandbox/worn","outcome":"upstream_rate_limited","seconds":0.00014454500001193082},{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.0003879180001149507}]',1.79526995724192190168e+09,1.79526995724455571169e+09,1.79526995724634480479e+09,1.79526995847850036618e+09,1.7952717572419219017e+09,1.795269958163626194e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_f8a130e4bc2da5ce368535cfb8281e68','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good','succeeded','{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{}}','{"id":"sandbox-3b1d1f468fde363ddc300501","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795269958.4897192,"takes":0.3,"fault":"","first":null,"last":null}}','{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_e7dcf778bfaf17dc13f69cee"}',100.0,0.0,NULL,'{"input_tokens":0,"output_tokens":0,"cached_tokens":0,"reasoning_tokens":0,"images":0,"seconds":1.0,"characters":0,"estimated":false}','chat_5a41de64e3874feb1b67b33e569d8de0','[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.00032765700007075793}]',1.79526995848524165153e+09,1.79526995848795914651e+09,1.79526995848975849147e+09,1.79526995984826135636e+09,1.79527175848524165151e+09,1.79526995958757019044e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_a0fa2a341cf3c71dede1c76869a978c4','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good','failed','{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"failed_job"}}','{"id":"sandbox-753374136808fa9370664e10","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795269959.8597693,"takes":0.3,"fault":"failed_job","first":null,"last":null}}','{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_0c672b6a8cf250e2362d9c4f"}',0.0,NULL,'{"code":"generation_failed","message":"the sandbox failed this job, as it was told to","type":"upstream_error","param":null,"status":502}',NULL,'chat_d8e5f3ae8e0c4f14b7261c541dc6482d','[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.00048355000012634264}]',1.79526995985419607166e+09,1.79526995985774230962e+09,1.79526995985981225973e+09,1.79526996086257433892e+09,1.79527175985419607156e+09,1.79526996085958671567e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_690ea951512a6d3eb49c5ad434a2f7f4','6a7a5ff2770e6c97','t2v','sandbox-video','sandbox','sandbox/good','expired','{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"expired_job"}}','{"id":"sandbox-e6c5059654977a6a4a8b5ceb","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795269960.9247196,"takes":0.3,"fault":"expired_job","first":null,"last":null}}','{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_1dbfe893ef3095a2cb683c6f"}',0.0,NULL,'{"code":"expired","message":"the sandbox let this job expire, as it was told to","type":"upstream_error","param":null,"status":502}',NULL,'chat_169dad7224fdd3a886fa83b2bb9e9c0e','[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.00030829899992568244}]',1.79526996091921973225e+09,1.79526996092284536364e+09,1.79526996092475676532e+09,1.7952699618556044102e+09,1.79527176091921973231e+09,1.79526996185205793381e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_8283fb773c088a314319cb6bcf997c7d','3414a0f1bbb1467b','t2v','sandbox-video','sandbox',NULL,'failed','{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"lost_create"}}',NULL,'{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_b6a1dc1ad71310960cb96695"}',0.0,NULL,'{"code":"submit_outcome_unknown","message":"The upstream may or may not have made the job; it was not sent again, so that nothing is paid twice.","type":"upstream_error","param":null,"status":502}',NULL,'chat_b58c9127ae22994fbe944c7102432ad4','[{"upstream":"sandbox","account":"sandbox/good","outcome":"upstream_timeout","seconds":0.00030337699990923284}]',1.79526996186025190353e+09,1.79526996186302661897e+09,NULL,1.79526996186493778225e+09,1.79527176186025190355e+09,1.79526996186025190353e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_d95f1fcfa8607afe3e0b348f16d3c90c','3414a0f1bbb1467b','t2v','sandbox-video','sandbox',NULL,'failed','{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"refused"}}',NULL,'{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_f076a7652574a0582da699e8"}',0.0,NULL,'{"code":"content_policy_violation","message":"The content policy of the upstream refused this request.","type":"invalid_request_error","param":"prompt","status":400}',NULL,'chat_cfaec60e45403d0e56fd57cc25f98dba','[{"upstream":"sandbox","account":"sandbox/good","outcome":"content_policy_violation","seconds":0.00010008899994318199}]',1.79526996186797261232e+09,1.7952699618744716644e+09,NULL,1.79526996187619829184e+09,1.79527176186797261239e+09,1.79526996186797261232e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_abb32845a96236b72d8c45200392c5ca','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good','cancelled','{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"slow_job;seconds=600"}}','{"id":"sandbox-38530b463a4e0e938470fcb9","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795269961.883514,"takes":600.0,"fault":"slow_job","first":null,"last":null}}','{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_0e1e7136114264c5fea3c56f"}',0.0,0.3,NULL,NULL,'chat_49b924ff8c231438e4a56acca00d6557','[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.0003126860001430032}]',1.79526996187904977798e+09,1.79526996188181662563e+09,1.79526996188354325293e+09,1.79526996189683890345e+09,1.79527176187904977796e+09,1.79526996291076254845e+09,NULL,0.0,0,'',1);
INSERT INTO "tasks" VALUES('task_21d3615427f1c59985396bb0d908048b','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good','running','{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"slow_job;seconds=600"}}','{"id":"sandbox-546ad1e0bfe1061eba6366cf","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795269961.905021,"takes":600.0,"fault":"slow_job","first":null,"last":null}}','{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_a5aec1efe3447d0884b9069f"}',8.50190101861953650974e-01,5.94847332715988159164e+02,NULL,NULL,'chat_f322b3779ae5143bdeeaaf055cf00be8','[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.00030889000004208356}]',1.79526996190035486224e+09,1.79526996190310931212e+09,1.79526996190505337713e+09,NULL,1.79527176190035486214e+09,1.79526996814778685572e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_9f81cf2048c2b7989e84b180d5a2b9fb','6a7a5ff2770e6c97','t2v','sandbox-video','sandbox','sandbox/good','running','{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"slow_job;seconds=600"}}','{"id":"sandbox-da9f6b3332446cf919aae4f8","cursor":{"prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","seed":2125158902,"width":128,"height":72,"seconds":1.0,"created":1795269961.91815,"takes":600.0,"fault":"slow_job","first":null,"last":null}}','{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_93cb2bf148b2c068581c42ef"}',8.2308163046836846366e-01,5.95011626482009887712e+02,NULL,NULL,'chat_8044aafdc1a37a4c247ed68285feb9f4','[{"upstream":"sandbox","account":"sandbox/good","outcome":"ok","seconds":0.0002896160001455428}]',1.79526996191367912295e+09,1.79526996191647362707e+09,1.79526996191817975051e+09,NULL,1.79527176191367912293e+09,1.79526996797663450236e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_36b091642c351a02be9a4162480f5e73','3414a0f1bbb1467b','t2v','narrow-video','narrow',NULL,'submitting','{"type":"video","model":"narrow-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"silence;seconds=600"}}',NULL,'{"candidates":[["narrow","narrow-video"]],"estimate":0.3,"request_id":"req_1655ef155397fa29d6151b52"}',0.0,0.3,NULL,NULL,'chat_7003e4ba9234125706bc9396ebbb58e6','[]',1.79526996503763461117e+09,1.79526996504075670238e+09,NULL,NULL,1.79527176503763461106e+09,1.79526996503763461117e+09,'d7bcd51c687bc0a6',1.79527062503920221327e+09,0,'',0);
INSERT INTO "tasks" VALUES('task_36c247824f7b9929be5ce4c15d918fe2','6a7a5ff2770e6c97','t2v','narrow-video','narrow',NULL,'queued','{"type":"video","model":"narrow-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{}}',NULL,'{"candidates":[["narrow","narrow-video"]],"estimate":0.3,"request_id":"req_b367e04c80c35590bf09e9ba"}',0.0,1.0,NULL,NULL,'chat_dc613d1de2e730e7650faf653c937342','[]',1795269965.04969,1.79526996708721017833e+09,NULL,NULL,1795271765.04969,1.79526996809035944936e+09,NULL,0.0,0,'',0);
INSERT INTO "tasks" VALUES('task_de097eddfc49c3be78c76f6aa292554a','3414a0f1bbb1467b','t2v','sandbox-video','sandbox',NULL,'submitting','{"type":"video","model":"sandbox-video","prompt":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊","kind":"t2v","size":{"ratio":"16:9","width":128,"height":72},"seconds":1.0,"seed":null,"inputs":[],"params":{},"hints":{"x-sandbox-fault":"silence;seconds=600"}}',NULL,'{"candidates":[["sandbox","sandbox-video"]],"estimate":0.3,"request_id":"req_f64f7fe70e09e0a1c689454b"}',0.0,0.3,NULL,NULL,'chat_703e59161b06a82ffc7b8704f3725257','[]',1.79526996536190390583e+09,1.79526996536533045775e+09,NULL,NULL,1.79527176536190390589e+09,1.79526996536190390583e+09,'d7bcd51c687bc0a6',1.79527062536385607722e+09,0,'',1);
CREATE TABLE turns (
	id TEXT NOT NULL, 
	chat_id TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	parent_id TEXT, 
	messages TEXT NOT NULL, 
	answer TEXT NOT NULL, 
	model TEXT NOT NULL, 
	upstream TEXT NOT NULL, 
	account_id TEXT, 
	upstream_ref TEXT, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_turns PRIMARY KEY (id), 
	CONSTRAINT fk_turns_chat_id FOREIGN KEY(chat_id) REFERENCES chats (id) ON DELETE CASCADE
);
INSERT INTO "turns" VALUES('resp_8d27e59b193d044c4adc218f962d0e3d','chat_6e0340bdb93e688507e748c3a2f080bd','3414a0f1bbb1467b',NULL,'[{"role":"user","content":"My name is Ada Zimmermann."}]','Hello from the site.','qwen3-max','qwen','qwen/a1','{"chat_id":"cbf7f084-cc5b-4955-ab8a-b71552454575","parent_id":"6aa15b2e-5963-4b8f-b0d0-fdd66c5e2f1d"}',1.79526995434360766407e+09);
INSERT INTO "turns" VALUES('resp_de68188641dd367fb4aa7b605977a1ee','chat_6e0340bdb93e688507e748c3a2f080bd','3414a0f1bbb1467b','resp_8d27e59b193d044c4adc218f962d0e3d','[{"role":"user","content":"What is my name?"}]','Hello from the site.','qwen3-max','qwen','qwen/a1','{"chat_id":"cbf7f084-cc5b-4955-ab8a-b71552454575","parent_id":"1be27fb5-6b1e-4559-976f-237e5e1f96c9"}',1.7952699543570296764e+09);
INSERT INTO "turns" VALUES('resp_5e8e0149fa243eeabef8f56c9289f272','chat_5552b02f573fe8d16f022566aeb1405b','3414a0f1bbb1467b',NULL,'[{"role":"user","content":"Hello, do you keep chats?"}]','Hello from the site.','qwen3-max','qwen','qwen/a1','{"chat_id":"33f57476-37d3-4bd4-a4a6-1f36106e6fd3","parent_id":"8bab94bc-f644-46bf-9bdf-11d37f270f6f"}',1.79526995436565685272e+09);
INSERT INTO "turns" VALUES('resp_11fa42276fb8c6d29291a6bf6312e519','chat_5552b02f573fe8d16f022566aeb1405b','3414a0f1bbb1467b','resp_5e8e0149fa243eeabef8f56c9289f272','[{"role":"user","content":"And now?"}]','Hello from the site.','qwen3-max','qwen','qwen/a1','{"chat_id":"33f57476-37d3-4bd4-a4a6-1f36106e6fd3","parent_id":"c8fdd353-fc30-4835-891e-7ec23886f4c8"}',1.79526995437556028366e+09);
INSERT INTO "turns" VALUES('resp_c6ce70e26cf62e2b604441804df65e66','chat_1f917c3a3d810f8fbc64509369e0a408','3414a0f1bbb1467b',NULL,'[{"role":"user","content":"a quiet house"}]','[image asset_1a33f53cf643b782a53e80cde2018c33]
','sandbox-image','sandbox','sandbox/good',NULL,1.79526995474500131611e+09);
INSERT INTO "turns" VALUES('task_53ac883115768942af9c1b6e0604bc49','chat_5a41de64e3874feb1b67b33e569d8de0','3414a0f1bbb1467b',NULL,'[{"role":"user","content":[{"type":"text","text":"let it fly"},{"type":"image_url","image_url":{"url":"http://127.0.0.1:43569/files/AGsC9sLckS6d6fuCtzI_G46CfFlk/uploads/2026-11/upload_20261121_140554_a9415059.png"}}]}]','[video task_53ac883115768942af9c1b6e0604bc49]','sandbox-video','sandbox','sandbox/worn',NULL,1.79526995476463222499e+09);
INSERT INTO "turns" VALUES('resp_07d7712b270c29f311cd714a61f21f11','chat_36cdc93c16d1ad040a6cc21f0164a9f5','3414a0f1bbb1467b',NULL,'[{"role":"user","content":[{"type":"text","text":"what is on it?"},{"type":"image_url","image_url":{"url":"http://127.0.0.1:43569/files/AGsC9sLckS6d6fuCtzI_G46CfFlk/uploads/2026-11/upload_20261121_140554_a9415059.png"}}]}]','Hello from the site.','qwen3-max','qwen','qwen/a1','{"chat_id":"1a7adb9e-c129-4375-bd5d-a20b6159e943","parent_id":"8ae44c40-ee26-4b8c-9191-ddc462fc25aa"}',1.7952699560118875504e+09);
INSERT INTO "turns" VALUES('task_cdb5fd1c7eea0ec1e1b12d19c0a2cb61','chat_dcbfae24c5a1b809037befb5e568eee4','3414a0f1bbb1467b',NULL,'[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]','[video task_cdb5fd1c7eea0ec1e1b12d19c0a2cb61]','sandbox-video','sandbox','sandbox/good',NULL,1.79526995602484560014e+09);
INSERT INTO "turns" VALUES('task_52cec4870644796baaca0dd42f26dd00','chat_babbb046ed04ec20e9c9c657803f2ca8','6a7a5ff2770e6c97',NULL,'[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]','[video task_52cec4870644796baaca0dd42f26dd00]','sandbox-video','sandbox','sandbox/good',NULL,1.79526995725082206718e+09);
INSERT INTO "turns" VALUES('task_f8a130e4bc2da5ce368535cfb8281e68','chat_5a41de64e3874feb1b67b33e569d8de0','3414a0f1bbb1467b','task_53ac883115768942af9c1b6e0604bc49','[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]','[video task_f8a130e4bc2da5ce368535cfb8281e68]','sandbox-video','sandbox','sandbox/good',NULL,1.79526995849423480033e+09);
INSERT INTO "turns" VALUES('task_a0fa2a341cf3c71dede1c76869a978c4','chat_d8e5f3ae8e0c4f14b7261c541dc6482d','3414a0f1bbb1467b',NULL,'[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]','[video task_a0fa2a341cf3c71dede1c76869a978c4]','sandbox-video','sandbox','sandbox/good',NULL,1.79526995986471271521e+09);
INSERT INTO "turns" VALUES('task_690ea951512a6d3eb49c5ad434a2f7f4','chat_169dad7224fdd3a886fa83b2bb9e9c0e','6a7a5ff2770e6c97',NULL,'[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]','[video task_690ea951512a6d3eb49c5ad434a2f7f4]','sandbox-video','sandbox','sandbox/good',NULL,1.79526996092923665044e+09);
INSERT INTO "turns" VALUES('task_abb32845a96236b72d8c45200392c5ca','chat_49b924ff8c231438e4a56acca00d6557','3414a0f1bbb1467b',NULL,'[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]','[video task_abb32845a96236b72d8c45200392c5ca]','sandbox-video','sandbox','sandbox/good',NULL,1.79526996188782572748e+09);
INSERT INTO "turns" VALUES('task_21d3615427f1c59985396bb0d908048b','chat_f322b3779ae5143bdeeaaf055cf00be8','3414a0f1bbb1467b',NULL,'[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]','[video task_21d3615427f1c59985396bb0d908048b]','sandbox-video','sandbox','sandbox/good',NULL,1.79526996190958213804e+09);
INSERT INTO "turns" VALUES('task_9f81cf2048c2b7989e84b180d5a2b9fb','chat_8044aafdc1a37a4c247ed68285feb9f4','6a7a5ff2770e6c97',NULL,'[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]','[video task_9f81cf2048c2b7989e84b180d5a2b9fb]','sandbox-video','sandbox','sandbox/good',NULL,1.79526996192277145383e+09);
INSERT INTO "turns" VALUES('task_36c247824f7b9929be5ce4c15d918fe2','chat_dc613d1de2e730e7650faf653c937342','6a7a5ff2770e6c97',NULL,'[{"role":"user","content":"waves on a grey sea, “slowly”; it''s dusk – 黄昏 🌊"}]','[video task_36c247824f7b9929be5ce4c15d918fe2]','narrow-video','narrow','',NULL,1.79526996505830764767e+09);
CREATE TABLE usage (
	id INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	request_id TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	model TEXT NOT NULL, 
	upstream TEXT NOT NULL, 
	account_id TEXT NOT NULL, 
	status INTEGER NOT NULL, 
	code TEXT NOT NULL, 
	input_tokens BIGINT NOT NULL, 
	output_tokens BIGINT NOT NULL, 
	images INTEGER NOT NULL, 
	media_seconds DOUBLE NOT NULL, 
	seconds DOUBLE NOT NULL, 
	attempts INTEGER NOT NULL, 
	task_id TEXT, 
	CONSTRAINT pk_usage PRIMARY KEY (id)
);
INSERT INTO "usage" VALUES(1,1.79526995434358620641e+09,'req_b2fab2c471dee72d5d90ffb1','3414a0f1bbb1467b','t2t','qwen3-max','qwen','qwen/a1',200,'ok',11,7,0,0.0,5.11083299988968065008e-03,1,NULL);
INSERT INTO "usage" VALUES(2,1.79526995435701036459e+09,'req_10b2d191756aae7aa0adc7c2','3414a0f1bbb1467b','t2t','qwen3-max','qwen','qwen/a1',200,'ok',11,7,0,0.0,3.00694599991402355954e-03,1,NULL);
INSERT INTO "usage" VALUES(3,1.79526995436563777922e+09,'req_fb486838802461a0416049a4','3414a0f1bbb1467b','t2t','qwen3-max','qwen','qwen/a1',200,'ok',11,7,0,0.0,3.81701099991005321498e-03,1,NULL);
INSERT INTO "usage" VALUES(4,1.7952699543755464554e+09,'req_bc4a0dd321a628630d60c9b3','3414a0f1bbb1467b','t2t','qwen3-max','qwen','qwen/a1',200,'ok',11,7,0,0.0,2.34362300011525803711e-03,1,NULL);
INSERT INTO "usage" VALUES(5,1.79526995438531446454e+09,'req_2cbc70a4b8113997641d46f2','6a7a5ff2770e6c97','t2t','sandbox-chat','sandbox','sandbox/worn',200,'ok',2,53,0,0.0,5.13307999995049613062e-03,1,NULL);
INSERT INTO "usage" VALUES(6,1.79526995438695454593e+09,'req_c277834e3398e33fc360f1e2','6a7a5ff2770e6c97','t2t','sandbox-chat','sandbox','sandbox/good',400,'content_policy_violation',0,0,0,0.0,1.85084999884566059336e-04,1,NULL);
INSERT INTO "usage" VALUES(7,1.79526995438897371288e+09,'req_c511849cc187c3344a23e85c','3414a0f1bbb1467b','embedding','sandbox-embedding','sandbox','sandbox/worn',200,'ok',2,0,0,0.0,5.80664000153774395585e-04,1,NULL);
INSERT INTO "usage" VALUES(8,1.79526995454413795466e+09,'req_f4053af7ff8878db20cd695d','6a7a5ff2770e6c97','t2i','sandbox-image','sandbox','sandbox/good',200,'ok',3,8,2,0.0,1.53818473000001176842e-01,1,NULL);
INSERT INTO "usage" VALUES(9,1.79526995461229920388e+09,'req_24b7d9b1ea9559e05abacbff','3414a0f1bbb1467b','tts','sandbox-speech','sandbox','sandbox/worn',200,'ok',0,0,0,0.0,6.63707359999534673988e-02,1,NULL);
INSERT INTO "usage" VALUES(10,1.79526995474498438833e+09,'req_8e4362c0652f9bf793c453fd','3414a0f1bbb1467b','t2i','sandbox-image','sandbox','sandbox/good',200,'ok',4,4,1,0.0,1.14300774999946952448e-01,1,NULL);
INSERT INTO "usage" VALUES(11,1.79526995599341487883e+09,'req_b928ae7c5763c17bf94bd379','3414a0f1bbb1467b','i2v','sandbox-video','sandbox','sandbox/worn',200,'succeeded',0,0,0,1.0,1.24186778068542480468e+00,1,'task_53ac883115768942af9c1b6e0604bc49');
INSERT INTO "usage" VALUES(12,1.79526995601187658313e+09,'req_1f9ecd068a4e04e6b52d3db2','3414a0f1bbb1467b','t2t','qwen3-max','qwen','qwen/a1',200,'ok',11,7,0,0.0,1.16130849999080965062e-02,1,NULL);
INSERT INTO "usage" VALUES(13,1.7952699572388567924e+09,'req_4f6308571c4a87f8867db943','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good',200,'succeeded',0,0,0,1.0,1.22164487838745117187e+00,1,'task_cdb5fd1c7eea0ec1e1b12d19c0a2cb61');
INSERT INTO "usage" VALUES(14,1.79526995848078060151e+09,'req_f26c48bb556925d7b57f371f','6a7a5ff2770e6c97','t2v','sandbox-video','sandbox','sandbox/good',200,'succeeded',0,0,0,1.0,1.23657846450805664062e+00,2,'task_52cec4870644796baaca0dd42f26dd00');
INSERT INTO "usage" VALUES(15,1.79526995985069322582e+09,'req_e7dcf778bfaf17dc13f69cee','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good',200,'succeeded',0,0,0,1.0,1.36301970481872558593e+00,1,'task_f8a130e4bc2da5ce368535cfb8281e68');
INSERT INTO "usage" VALUES(16,1.79526996086499834055e+09,'req_0c672b6a8cf250e2362d9c4f','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good',502,'generation_failed',0,0,0,0.0,1.00837826728820800781e+00,1,'task_a0fa2a341cf3c71dede1c76869a978c4');
INSERT INTO "usage" VALUES(17,1.79526996185786914825e+09,'req_1dbfe893ef3095a2cb683c6f','6a7a5ff2770e6c97','t2v','sandbox-video','sandbox','sandbox/good',502,'expired',0,0,0,0.0,9.36384677886962890625e-01,1,'task_690ea951512a6d3eb49c5ad434a2f7f4');
INSERT INTO "usage" VALUES(18,1.7952699618648724556e+09,'req_b6a1dc1ad71310960cb96695','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good',504,'upstream_timeout',0,0,0,0.0,3.50287000173921114765e-04,1,'task_8283fb773c088a314319cb6bcf997c7d');
INSERT INTO "usage" VALUES(19,1.79526996187614870073e+09,'req_f076a7652574a0582da699e8','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good',400,'content_policy_violation',0,0,0,0.0,1.42672999800197430886e-04,1,'task_d95f1fcfa8607afe3e0b348f16d3c90c');
INSERT INTO "usage" VALUES(20,1.79526996189840292927e+09,'req_0e1e7136114264c5fea3c56f','3414a0f1bbb1467b','t2v','sandbox-video','sandbox','sandbox/good',200,'cancelled',0,0,0,0.0,1.77891254425048828125e-02,1,'task_abb32845a96236b72d8c45200392c5ca');
INSERT INTO "usage" VALUES(21,1.79526996505460786817e+09,'req_b367e04c80c35590bf09e9ba','6a7a5ff2770e6c97','t2v','narrow-video','narrow','',503,'no_account_available',0,0,0,0.0,1.96241999901758390478e-04,1,'task_36c247824f7b9929be5ce4c15d918fe2');
INSERT INTO "usage" VALUES(22,1.79526996608291769031e+09,'req_b367e04c80c35590bf09e9ba','6a7a5ff2770e6c97','t2v','narrow-video','narrow','',503,'no_account_available',0,0,0,0.0,9.12250000055792e-05,1,'task_36c247824f7b9929be5ce4c15d918fe2');
INSERT INTO "usage" VALUES(23,1.79526996709032177928e+09,'req_b367e04c80c35590bf09e9ba','6a7a5ff2770e6c97','t2v','narrow-video','narrow','',503,'no_account_available',0,0,0,0.0,1.11886000013328157365e-04,1,'task_36c247824f7b9929be5ce4c15d918fe2');
CREATE INDEX ix_tasks_state_next_poll_at ON tasks (state, next_poll_at);
CREATE INDEX ix_tasks_owner_created_at ON tasks (owner, created_at);
CREATE INDEX ix_assets_owner_created_at ON assets (owner, created_at);
CREATE INDEX ix_assets_owner_family_created_at ON assets (owner, family, created_at);
CREATE INDEX ix_assets_task_id ON assets (task_id);
CREATE INDEX ix_files_owner_created_at ON files (owner, created_at);
CREATE INDEX ix_chats_owner_updated_at ON chats (owner, updated_at);
CREATE INDEX ix_usage_at ON usage (at);
CREATE INDEX ix_turns_chat_id_created_at ON turns (chat_id, created_at);
COMMIT;
