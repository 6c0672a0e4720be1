#pragma once
/// The whole of octet in one include.
#include <octet/cancel.h>
#include <octet/constraint.h>
#include <octet/device.h>
#include <octet/embed.h>
#include <octet/engine.h>
#include <octet/error.h>
#include <octet/eval.h>
#include <octet/generate.h>
#include <octet/model.h>
#include <octet/ops.h>
#include <octet/quant.h>
#include <octet/sampler.h>
#include <octet/session.h>
#include <octet/tensor.h>
#include <octet/tokenizer.h>
